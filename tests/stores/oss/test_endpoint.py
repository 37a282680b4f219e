"""The endpoint as people write it, and what is wrong with a connection for good: exit code 5 at once."""

import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from aggregation.stores.oss import endpoint
from oss_server import OssServer
from scripts import Script

ROOT = ("--root", "oss://demo/data")
HANGZHOU = "oss-cn-hangzhou.aliyuncs.com"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (HANGZHOU, f"https://demo.{HANGZHOU}/k"),
        (f"https://{HANGZHOU}", f"https://demo.{HANGZHOU}/k"),
        (f"HTTPS://{HANGZHOU.upper()}", f"https://demo.{HANGZHOU}/k"),
        (f"http://{HANGZHOU}/", f"http://demo.{HANGZHOU}/k"),
        (f"https://{HANGZHOU}/demo/data?x=y#z", f"https://demo.{HANGZHOU}/k"),
        (f"oss://{HANGZHOU}", f"https://demo.{HANGZHOU}/k"),
        (f"demo.{HANGZHOU}", f"https://demo.{HANGZHOU}/k"),
        (f"https://demo.{HANGZHOU}/", f"https://demo.{HANGZHOU}/k"),
        ("https://demo.oss-cn-hangzhou-internal.aliyuncs.com:8443", None),
        ("https://oss-accelerate.aliyuncs.com", "https://demo.oss-accelerate.aliyuncs.com/k"),
        ("https://cn-hangzhou.oss.aliyuncs.com", "https://demo.cn-hangzhou.oss.aliyuncs.com/k"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/demo/k"),
        ("127.0.0.1:9000", "https://127.0.0.1:9000/demo/k"),
        ("http://localhost:9000/", "http://localhost:9000/demo/k"),
        ("http://demo.localhost:9000", "http://localhost:9000/demo/k"),
        ("http://[::1]:9000", "http://[::1]:9000/demo/k"),
        ("http://[2001:DB8::1]/demo", "http://[2001:db8::1]/demo/k"),
        ("http://storage:9000", "http://storage:9000/demo/k"),
        ("http://name:word@127.0.0.1:9000", "http://127.0.0.1:9000/demo/k"),
    ],
)
def test_what_is_meant(text: str, url: str | None) -> None:
    """Scheme, bucket, path, slash and addresses come to the same URLs."""
    wanted = url or "https://demo.oss-cn-hangzhou-internal.aliyuncs.com:8443/k"
    assert endpoint.parse(text, "demo").url("demo", "k") == wanted


def test_a_domain_of_ones_own() -> None:
    """A domain that is bound to the bucket has no place for the bucket's name."""
    assert endpoint.parse("files.example", "demo", cname=True).url("demo", "k") == "https://files.example/k"
    found = endpoint.parse("files.example", "demo", cname=False)
    assert found.url("demo", "k") == "https://demo.files.example/k"
    assert endpoint.parse("http://127.0.0.1:1", "demo", cname=True).url("demo", "") == "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    "text",
    [
        "ftp://host",
        "s3://bucket",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://",
        "https:///demo",
        "http://::1:9000",
        "http://[::1",
        "http://[zz]",
        "http://a..b",
        "http://two words",
        "http://-x-",
        "://host",
        f"other.{HANGZHOU}",
    ],
)
def test_what_cannot_be_meant(run: Script, text: str) -> None:
    """Exit code 5 and one line that names the variable, before any request."""
    with pytest.raises(ValueError, match="it"):
        endpoint.parse(text, "demo")
    keys = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret"}
    outcome = run("process.py", 0, 1, *ROOT, OSS_ENDPOINT=text, **keys)
    assert outcome.returncode == 5, outcome.stderr
    assert "OSS_ENDPOINT" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_cname(run: Script, server: OssServer) -> None:
    """OSS_CNAME=true: the server has the bucket by its name alone."""
    server.settings.bound_bucket = "demo"
    for value, exit_code in (("true", 0), ("TRUE ", 0), ("maybe", 5)):
        outcome = run("process.py", 0, 1, *ROOT, **server.environment(), OSS_CNAME=value)
        assert outcome.returncode == exit_code, outcome.stderr
    assert server.get("demo", "data/l2/0.txt") == b"ab"


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@contextmanager
def relay(listener: socket.socket, port: int, context: ssl.SSLContext | None = None) -> Iterator[None]:
    """Carries what comes to the listener to a port of this machine, TLS taken off."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=carry, args=(client,), daemon=True).start()

    def carry(client: socket.socket) -> None:
        with suppress(OSError), closing(client), socket.create_connection(("127.0.0.1", port)) as inner:
            outer = context.wrap_socket(client, server_side=True) if context else client
            with closing(outer):
                back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
                back.start()
                _pump(outer, inner)
                back.join()

    threading.Thread(target=serve, daemon=True).start()
    with closing(listener):
        yield


def test_ipv6(run: Script, server: OssServer) -> None:
    """An endpoint that is an IPv6 address, port and all."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback address, ::1")
    endpoint = f"http://[::1]:{listener.getsockname()[1]}/"
    with relay(listener, server.port):
        outcome = run("process.py", 0, 1, *ROOT, **{**server.environment(), "OSS_ENDPOINT": endpoint})
    assert outcome.returncode == 0, outcome.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key."""
    path = tmp_path / "server.pem"
    arguments = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    extensions = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    try:
        subprocess.run(["openssl", *arguments, *extensions], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here that makes a certificate")
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_certificates(run: Script, server: OssServer, certificate: Path, tmp_path: Path) -> None:
    """A certificate that is not trusted, a CA file that is absent or none: 5 at once; the right one: 0."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate\n")
    listener = socket.create_server(("127.0.0.1", 0))
    endpoint = f"https://127.0.0.1:{listener.getsockname()[1]}"
    given = {**server.environment(), "OSS_ENDPOINT": endpoint}
    with relay(listener, server.port, context):
        for bundle, exit_code, said in [
            (f"{certificate}.crt", 0, ""),
            ("", 5, "certificate is refused"),
            ("/no/such/bundle.pem", 5, "/no/such/bundle.pem"),
            (str(empty), 5, "certificates"),
        ]:
            outcome = at_once(run, **given, REQUESTS_CA_BUNDLE=bundle)
            assert outcome.returncode == exit_code, outcome.stderr
            assert said in outcome.stderr


def at_once(run: Script, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A step with ordinary patience, which must not be used up."""
    started = time.monotonic()
    outcome = run("process.py", 0, 1, *ROOT, "--timeout", 60, **variables)
    assert time.monotonic() - started < 40
    assert outcome.stderr.count("\n") == (1 if outcome.returncode else 0)
    return outcome


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"http_proxy": "socks5://127.0.0.1:9"}, "SOCKS"),
        ({"http_proxy": "http://name:the-word@127.0.0.1:port"}, "PROXY"),
        ({"http_proxy": "ftp://127.0.0.1:9"}, "PROXY"),
        ({"http_proxy": "http://name:%E2%82%AC-word@127.0.0.1:9"}, "proxy"),
        ({"OSS_ACCESS_KEY_ID": "\u5bc6\u94a5"}, "OSS_ACCESS_KEY_ID"),
        ({"OSS_ACCESS_KEY_ID": "two words"}, "OSS_ACCESS_KEY_ID"),
        ({"OSS_ACCESS_KEY_SECRET": "two\nlines"}, "OSS_ACCESS_KEY_SECRET"),
        ({"OSS_SESSION_TOKEN": "a\rb"}, "OSS_SESSION_TOKEN"),
        ({"OSS_REGION": "cn hangzhou"}, "OSS_REGION"),
        ({"OSS_REGION": "\u676d\u5dde"}, "OSS_REGION"),
    ],
    ids=str,
)
def test_wrong_configuration_is_said_at_once(
    run: Script, server: OssServer, changes: dict[str, str], said: str
) -> None:
    """What no later try can cure is not tried for two minutes."""
    outcome = at_once(run, **{**server.environment(), **changes})
    assert outcome.returncode == 5, outcome.stderr
    assert said in outcome.stderr


def test_a_proxy_that_wants_another_password(run: Script, server: OssServer) -> None:
    """407 to CONNECT is configuration; the line names the proxy, its password masked."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.recv(65536)
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                client.close()

    threading.Thread(target=refuse, daemon=True).start()
    with closing(listener):
        proxy = f"http://name:the-password@127.0.0.1:{listener.getsockname()[1]}"
        endpoint = {"OSS_ENDPOINT": "https://127.0.0.1:9", "https_proxy": proxy}
        outcome = at_once(run, **{**server.environment(), **endpoint})
    assert outcome.returncode == 5, outcome.stderr
    assert "407" in outcome.stderr
    assert "name:***@127.0.0.1" in outcome.stderr


def test_the_environment_is_read_once(run: Script, server: OssServer, tmp_path: Path) -> None:
    """A password for the host in ~/.netrc does not replace the signature."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password something\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    outcome = run("process.py", 0, 1, *ROOT, **server.environment(), HOME=str(tmp_path))
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("end", ["\n", " ", "\r\n", "\t"], ids=repr)
def test_white_space_at_the_ends(run: Script, server: OssServer, end: str) -> None:
    """What `echo | base64` and editors add to a Secret is taken off."""
    account = server.issue_credentials()
    given = {
        "OSS_ENDPOINT": server.endpoint,
        "OSS_REGION": server.region,
        "OSS_ACCESS_KEY_ID": account.access_key_id,
        "OSS_ACCESS_KEY_SECRET": account.access_key_secret,
        "OSS_SESSION_TOKEN": account.security_token or "",
    }
    outcome = run("process.py", 0, 1, *ROOT, **{name: f"{end}{value}{end}" for name, value in given.items()})
    assert outcome.returncode == 0, outcome.stderr


def test_the_variables_of_all_tools(run: Script, server: OssServer) -> None:
    """ALIBABA_CLOUD_* are taken where no OSS_* key is set; OSS_* come first."""
    account = server.issue_credentials()
    given = {
        "OSS_ENDPOINT": server.endpoint,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": account.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": account.access_key_secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": account.security_token or "",
    }
    outcome = run("process.py", 0, 1, *ROOT, **given)
    assert outcome.returncode == 0, outcome.stderr
    assert set(server.counters.clients) == {account.access_key_id}
    server.counters.reset()
    assert run("process.py", 0, 1, *ROOT, **given | {"OSS_ENDPOINT": ""}).returncode == 5
    own = {name: value for name, value in server.environment().items() if name != "OSS_ENDPOINT"}
    assert run("process.py", 0, 1, *ROOT, **given, **own).returncode == 0
    assert set(server.counters.clients) == {server.access_key_id}
    del given["ALIBABA_CLOUD_ACCESS_KEY_SECRET"]
    outcome = run("process.py", 0, 1, *ROOT, **given)
    assert outcome.returncode == 5
    assert "lack ALIBABA_CLOUD_ACCESS_KEY_SECRET" in outcome.stderr
