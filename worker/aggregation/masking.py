"""What no line may show: the secrets that this process was given, passwords and signatures in URLs."""

import re

from .location import MASK

_TELLING = 8
"""Characters from which on a secret is sought; a shorter one is part of any text."""

_hidden: set[str] = set()

_PASSWORD = re.compile(r"(://[^\s:/@?#'\"]*):(?!\d+(?:[/?#'\"]|\Z))[^\s'\"]*@")
_SIGNATURE = re.compile(
    r"((?:[?&;][\w.%-]*(?:sign|token|secret|passw|credential|accesskey|auth)[\w.%-]*|\bsignature)=)[^\s&;'\",]+",
    re.IGNORECASE,
)


def hide(*secrets: str) -> None:
    """From now on show none of these, nor any word of one that has several, in any line."""
    for secret in secrets:
        _hidden.update(word for word in [secret, *secret.split()] if len(word) >= _TELLING)


def hide_password(password: str) -> None:
    """From now on show no password of a URL, a short one neither where it stands between `:` and `@`."""
    if password:
        hide(password)
        _hidden.add(f":{password}@")


def masked(text: str) -> str:
    """The text as it may be shown."""
    for secret in sorted(_hidden, key=len, reverse=True):
        text = text.replace(secret, MASK)
    if "://" in text or "=" in text:
        text = _SIGNATURE.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", text))
    return text
