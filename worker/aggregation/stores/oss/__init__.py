"""OSS, whose service joins objects itself: the only folder that imports oss2 and ossfs.

- store: the promise; joining and transfer do its work: objects joined, files of this machine fetched and sent
- assembly, multipart: one join by multipart upload, and one upload; parts: the plan; sources: what is read;
  forecast: what a join will cost
- unfinished: uploads and intermediate objects to clean up; interference: other writers in the way
- bucket: what all of these share
- objects, uploads, listing: the operations, each sent by client, which alone tries again:
  tries times that, pace says how fast
- wire, connection, transport, endpoint: sending one request and reading its answer
- answers: what an answer means, and whether it is tried again; marks: how the worker knows its own objects
- credentials, renewal, roles, role_answers: the keys that sign requests, and where they come from
"""

import sys
from types import ModuleType

_UNUSED = [
    "Crypto",
    "Crypto.Cipher",
    "Crypto.PublicKey",
    "Crypto.Util",
    "aliyunsdkcore",
    "aliyunsdkcore.acs_exception",
    "aliyunsdkcore.acs_exception.exceptions",
    "aliyunsdkcore.http",
    "aliyunsdkkms",
    "aliyunsdkkms.request",
    "aliyunsdkkms.request.v20160120",
]
"""What oss2 imports to encrypt objects, which nothing here asks for: 0.1 s of a start, and 16 MiB."""


class _Empty(ModuleType):
    """A module that has any name, and nothing under it."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


_empty = {name: _Empty(name) for name in _UNUSED if name not in sys.modules}
sys.modules.update(_empty)
# oss2 comes before any module of ours. CPython 3.11 maps a chunk of its stack whenever a call goes past the
# end of the last one, and unmaps it at the return. Deep in a chain of our imports that end lay within the
# loops that compile regular expressions of oss2's packages: 9,000 times, a fifth of a start.
try:
    import oss2  # noqa: F401
finally:
    for _name in _empty:
        del sys.modules[_name]
