"""The control endpoint: what another process sets and asks, as JSON below `/-/`."""

import json
from dataclasses import asdict, fields
from typing import Any

from oss_server.counters import Counters
from oss_server.errors import OssError
from oss_server.faults import Faults, fault_from_json
from oss_server.settings import Settings
from oss_server.wire import Connection, Head, response_head

PREFIX = "/-/"
_MAX_DOCUMENT = 1 << 20


class Control:
    """Answers requests that are unsigned, uncounted and subject to no fault."""

    def __init__(self, counters: Counters, faults: Faults, settings: Settings) -> None:
        self._counters = counters
        self._faults = faults
        self._settings = settings

    def serve(self, connection: Connection, head: Head, path: str) -> bool:
        """Answer one request; returns whether the connection goes on.

        Raises:
            ConnectionLost: The client went away.
        """
        try:
            text = connection.body(head).read_all(_MAX_DOCUMENT)
            status, answer = self._answer(head.method, path, json.loads(text) if text else {})
        except (OssError, ValueError, TypeError) as err:
            status, answer = 400, {"error": str(err)}
        data = json.dumps(answer, indent=2).encode() + b"\n"
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        connection.send(response_head(status, headers) + data)
        return head.keep_alive

    def _answer(self, method: str, path: str, value: dict[str, Any]) -> tuple[int, Any]:
        match f"{method} {path.removeprefix(PREFIX)}":
            case "GET counters":
                return 200, self._counters.as_json()
            case "POST reset":
                self._counters.reset()
                self._faults.clear()
                return 200, {}
            case "POST settings":
                self._change_settings(value)
                return 200, asdict(self._settings)
            case "POST faults":
                self._faults.add(fault_from_json(value))
            case "DELETE faults":
                self._faults.clear()
            case "GET faults":
                pass
            case command:
                return 404, {"error": f"no {command}"}
        return 200, self._faults.as_json()

    def _change_settings(self, value: dict[str, Any]) -> None:
        known = {field.name for field in fields(Settings)}
        if unknown := value.keys() - known:
            raise ValueError(
                f"no settings: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
            )
        for name, setting in value.items():
            setattr(self._settings, name, setting)
