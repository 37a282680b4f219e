"""Names of files, roots and variables that hold anything: a code of the table, and no file of others lost."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import host
from aggregation.layout import parse_temporary
from hostile import TEXTS, Sandbox, tried, words

LONG = [f"{'9' * count}.txt" for count in (99, 100, 101)]
TEMPORARIES = st.tuples(
    st.sampled_from(["0.txt", "x"]) | TEXTS,
    st.sampled_from(["h", host.name(), host.name_for_pids()]),
    st.sampled_from(words("0 00 1 99999 4194304 9999999999 \u0663")),
    st.sampled_from(words("aggregation000000001 aggregationffffffff99 aggregation x")),
).map(lambda parts: f".{'.'.join(parts)}.tmp")
FILES = st.one_of(
    TEXTS,
    TEMPORARIES,
    st.sampled_from(words("0.txt 1.txt 2.txt 00.txt \u0663.txt -1.txt 0.TXT 0.exr s_1.exr s_01.exr", *LONG)),
)
NAMES = FILES.map(lambda name: name.replace("/", "_")).filter(
    lambda name: name not in ("", ".", "..") and len(os.fsencode(name)) < 250
)
FOLDERS = st.one_of(
    st.just(""), NAMES, st.sampled_from(words("l0 l1 l2 l3 l01 runs/a/l2 runs/~", f"l{'9' * 100}"))
)
CALLS = [
    *(
        "process.py 0 1",
        "process.py 0 1 --files=2",
        "merge.py 2",
        "merge.py 2 --level=1",
        "merge.py 3 --level=2",
    ),
    *("plan.py 1", "plan.py 2", "inputs.py --glob=*", "inputs.py --glob=** --missing=skip", "prepare.py 2"),
    *("inputs.py --frames=0-2 --missing=skip", "inputs.py --expected=names.txt --missing=skip"),
    *("pipeline.py --workers=1", "pipeline.py --workers=1 --glob=* --levels=1 --resume"),
    *("process.py 0 1 --command=cat\t{inputs}", "merge.py 2 --level=1 --command=cat\t{inputs-file}"),
]
MADE = {"l2/0.txt", "result.txt", "inputs.txt", "missing.json"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """One for all examples."""
    return Sandbox(Path(tmp_path_factory.mktemp("sandbox")))


@tried(80)
@given(
    call=st.sampled_from(CALLS),
    names=st.lists(st.tuples(FOLDERS, NAMES), max_size=5),
    count=st.integers(0, 3),
    is_old=st.booleans(),
)
def test_any_names(
    sandbox: Sandbox, call: str, names: list[tuple[str, str]], count: int, is_old: bool
) -> None:
    """What lies beside the files of the levels: what the worker did not write it never removes."""
    listed = "\n".join(os.path.join(*each) for each in names)
    sandbox.fill(
        {f"l1/{number}.txt": b"A" for number in range(count)}
        | {"names.txt": listed.encode("utf-8", "surrogateescape") or b"x"}
    )
    others = {path for folder, name in names if (path := written(sandbox.root / folder, name, is_old))}
    script, *arguments = call.split(" ")
    ended = sandbox.call(script, [argument.replace("\t", " ") for argument in arguments])
    for path in others:
        name = str(path.relative_to(sandbox.root))
        if name not in MADE and not any(map(parse_temporary, path.parts)):
            assert path.read_bytes() == b"B", (path, call, ended)


def written(folder: Path, name: str, is_old: bool) -> Path | None:
    """A file; None where another one stands in the way."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"B")
    except OSError:
        return None
    if is_old:
        os.utime(folder / name, (1, 1))
    return folder / name


HERE = "127.0.0.1:9"
"""Where nobody answers."""
HOSTS = st.sampled_from(
    words(
        f"{HERE} [::1]:9 u:p@{HERE} [ [] 127.0.0.1:99999 127.0.0.1:x :9 @ :@{HERE} a:b@c@{HERE} %zz@{HERE}",
        "",
    )
)
URLS = st.tuples(
    st.sampled_from(
        words("oss memory ftp s3 s3a http zip tar reference dir blockcache data OSS x a+b 1a ä dir::memory")
    ),
    st.sampled_from(["://", "://", ":///", "::", ":/"]),
    HOSTS,
    TEXTS,
).map("".join)
FOLDER_ROOTS = TEXTS.map(lambda text: f"./x{text.replace('..', '')}")
ROOTS = st.one_of(
    URLS, FOLDER_ROOTS, *(TEXTS.map(begin.__add__) for begin in ("oss://demo/", "oss://", "memory://"))
)
VARIABLES = {
    **dict.fromkeys(
        words(
            "OSS_ACCESS_KEY_ID OSS_ACCESS_KEY_SECRET OSS_SESSION_TOKEN OSS_REGION OSS_CNAME NO_PROXY TERM TZ "
            "REQUESTS_CA_BUNDLE ALIBABA_CLOUD_ROLE_ARN ALIBABA_CLOUD_OIDC_TOKEN_FILE COLUMNS LANG NO_COLOR "
            "ALIBABA_CLOUD_ECS_METADATA AGGREGATION_LOG_FORMAT PYTHONIOENCODING"
        ),
        TEXTS,
    ),
    **dict.fromkeys(words("OSS_ENDPOINT HTTP_PROXY ALL_PROXY"), HOSTS.map("http://".__add__)),
}
ELSEWHERE = dict.fromkeys(
    words("OSS_ENDPOINT AWS_ENDPOINT_URL ALIBABA_CLOUD_STS_ENDPOINT ALIBABA_CLOUD_ECS_METADATA_ENDPOINT"),
    f"http://{HERE}",
) | {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s"}
KEYS = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret"}


@tried(60)
@given(
    call=st.sampled_from([call for call in CALLS if "=" not in call]),
    root=ROOTS,
    keys=st.sampled_from([KEYS, {}]),
    variables=st.lists(st.sampled_from(sorted(VARIABLES)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: VARIABLES[name] for name in names})
    ),
)
def test_any_root(
    sandbox: Sandbox, call: str, root: str, keys: dict[str, str], variables: dict[str, str]
) -> None:
    """A root that holds anything, in an environment that does; no host but this one is asked."""
    sandbox.fill({})
    script, *arguments = call.split(" ")
    try:
        sandbox.call(
            script, [*arguments, f"--root={root}", "--timeout=0"], ELSEWHERE | keys | variables, tidy
        )
    finally:
        tidy(sandbox)


def tidy(sandbox: Sandbox) -> None:
    """Remove what a root is that is no URL: it lies in the folder of the call."""
    for path in sandbox.cwd.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
