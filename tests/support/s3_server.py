"""An S3 server on 127.0.0.1 for the tests: moto, in a process of its own, with faults on demand.

As a program it serves until its standard input ends. A fault is `{"method", "match", "times", "status",
"code", "wait", "skip", "done"}`: requests of that method (any if absent) whose path and query hold `match`
get the error as their answer, `times` times (for ever if absent) after the first `skip`, each after `wait`
seconds. Without a status they are answered as ever; where `done` is set they are carried out all the same.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Self

KEYS = {
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}

_CONTROL = "/-/"

Fault = dict[str, Any]


class S3Server:
    """The process, and a client of its own that goes past the worker."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self._buckets = 0
        import boto3  # noqa: PLC0415 - for tests that need it only

        self.client: Any = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id="id",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )

    @classmethod
    @cache
    def shared(cls) -> Self:
        """One for all tests of this process; it ends with it."""
        return cls()

    def environment(self) -> dict[str, str]:
        """What lets the worker find it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.endpoint}

    def bucket(self) -> str:
        """A new bucket's name."""
        self._buckets += 1
        name = f"bucket-{os.getpid()}-{self._buckets}"
        self.client.create_bucket(Bucket=name)
        return name

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        try:
            data: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return data

    def keys(self, bucket: str) -> set[str]:
        """All objects of a bucket."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"] for page in pages for found in page.get("Contents", [])}

    def uploads(self, bucket: str) -> list[str]:
        """The keys of all uploads that are not ended."""
        listed = self.client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        return [upload["Key"] for upload in listed]

    def faults(self, *faults: Fault) -> None:
        """These from now on, and no others."""
        self._control("faults", json.dumps(faults).encode())

    def requests(self) -> list[str]:
        """Method, path and query of each request since the last call of `faults`."""
        found: list[str] = json.loads(self._control("requests", None))
        return found

    def struck(self) -> bool:
        """Whether a fault has met a request since the last call of `faults`."""
        return self._control("struck", None) == b"true"

    def _control(self, name: str, data: bytes | None) -> bytes:
        with urllib.request.urlopen(f"{self.endpoint}{_CONTROL}{name}", data) as answer:
            body: bytes = answer.read()
        return body


class _Faulty:
    """The application before moto's: what is to fail fails here."""

    def __init__(self, behind: Callable[..., Iterable[bytes]]) -> None:
        self._behind = behind
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._requests: list[str] = []
        self._struck = False

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path.startswith(_CONTROL):
            start("200 OK", [])
            return [self._control(path.removeprefix(_CONTROL), environment)]
        line = f"{environment['REQUEST_METHOD']} {path}?{environment['QUERY_STRING']}"
        fault = self._next(line)
        time.sleep(fault.get("wait", 0))
        if "status" not in fault:
            return self._behind(environment, start)
        if fault.get("done"):
            b"".join(self._behind(environment, lambda *_: None))
        else:
            environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        code = fault.get("code", "")
        body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
        body = body if code and environment["REQUEST_METHOD"] != "HEAD" else b""
        start(
            f"{fault['status']} Fault",
            [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))],
        )
        return [body]

    def _control(self, name: str, environment: dict[str, Any]) -> bytes:
        with self._lock:
            if name == "requests":
                return json.dumps(self._requests).encode()
            if name == "struck":
                return json.dumps(self._struck).encode()
            self._faults = json.loads(environment["wsgi.input"].read(int(environment["CONTENT_LENGTH"])))
            self._requests.clear()
            self._struck = False
        return b""

    def _next(self, line: str) -> Fault:
        with self._lock:
            self._requests.append(line)
            for fault in self._faults:
                if line.startswith(fault.get("method", "")) and fault.get("match", "") in line:
                    if fault.get("skip", 0) > 0:
                        fault["skip"] -= 1
                    elif fault.get("times", 1) > 0:
                        fault["times"] = fault.get("times", sys.maxsize) - 1
                        self._struck = True
                        return fault
        return {}


def _serve() -> None:
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415 - for the process that serves
        DomainDispatcherApplication,
        create_backend_app,
    )
    from werkzeug.serving import make_server  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1", 0, _Faulty(DomainDispatcherApplication(create_backend_app)), threaded=True
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
