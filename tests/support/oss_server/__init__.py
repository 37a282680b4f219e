"""A server that speaks Alibaba Cloud OSS on 127.0.0.1, for tests and for play.

    with OssServer(buckets=["demo"]) as server:
        server.put("demo", "l1/0.txt", b"A")
        server.faults.add(Fault("UploadPartCopy", Answer(503, "ServiceUnavailable"), times=2))
        ...
        assert server.counters.operations["GetObject"].requests == 0

It checks signatures, enforces the service's limits, injects faults, shapes traffic and counts.

Another process reaches the same by JSON on the same port, unsigned and uncounted:

    GET    /-/counters               requests and bytes: in total, by operation, by access key id
    POST   /-/faults                 {"operation": "GetObject", "key": "l1/", "skip": 0, "times": 2,
                                      "action": {"kind": "answer", "status": 500, "code": "InternalError"}}
    GET    /-/faults                 the rules, and how often each applied; DELETE ends them
    POST   /-/settings               {"latency": 0.02, "crc_on_copies": false, ...}: the fields of `Settings`
    POST   /-/reset                  counters to zero, no faults
"""

from oss_server.counters import Counters, Ledger, Tally
from oss_server.errors import OssError
from oss_server.faults import (
    Answer,
    Call,
    Delay,
    Fault,
    Faults,
    Hold,
    Instead,
    LoseAnswer,
    OmitCrc,
    Reset,
    Truncate,
    WrongCrc,
)
from oss_server.objects import StoredObject, Upload
from oss_server.server import OssServer
from oss_server.settings import Settings
from oss_server.signing import Account

__all__ = [
    "Account",
    "Answer",
    "Call",
    "Counters",
    "Delay",
    "Fault",
    "Faults",
    "Hold",
    "Instead",
    "Ledger",
    "LoseAnswer",
    "OmitCrc",
    "OssError",
    "OssServer",
    "Reset",
    "Settings",
    "StoredObject",
    "Tally",
    "Truncate",
    "Upload",
    "WrongCrc",
]
