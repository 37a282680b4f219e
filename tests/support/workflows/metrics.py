"""A stand-in for the metrics of Argo's controller: what templates count of ended pods, served to a scrape.

As Argo 3.6 and later: a histogram is a histogram, the names are prefixed, a metric whose value cannot be
evaluated is left out and said.
"""

import re
import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from workflows.parameters import Manifest, ManifestError
from workflows.scopes import Scope

PREFIX = "argo_workflows_"
Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """A line of what a scrape gives."""

    name: str
    labels: frozenset[tuple[str, str]]


class _Histogram:
    def __init__(self, help_: str, buckets: Sequence[float]) -> None:
        self.help = help_
        self.buckets = buckets
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def record(self, labels: Labels, value: float) -> None:
        counts = self.counts.setdefault(labels, [0] * (len(self.buckets) + 1))
        counts[bisect_left(self.buckets, value)] += 1
        self.sums[labels] = self.sums.get(labels, 0.0) + value

    def lines(self, name: str) -> Iterator[str]:
        yield f"# HELP {name} {self.help}"
        yield f"# TYPE {name} histogram"
        for labels, counts in self.counts.items():
            for number, bound in enumerate([*map(float, self.buckets), "+Inf"]):
                yield f"{name}_bucket{_braced((*labels, ('le', str(bound))))} {sum(counts[: number + 1])}"
            yield f"{name}_sum{_braced(labels)} {self.sums[labels]}"
            yield f"{name}_count{_braced(labels)} {sum(counts)}"


class Controller:
    """Counts the pods that are told to it and serves what it counted at `url`."""

    def __init__(self) -> None:
        self._metrics: dict[str, _Histogram] = {}
        self.problems: list[str] = []
        """What Argo would write into the workflow's condition MetricsError."""
        self._server = _Server(("127.0.0.1", 0), _Page)
        self._server.controller = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/metrics"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ended(self, template: Manifest, **known: str) -> None:
        """A try of a template ended.

        Args:
            template: as the manifest has it.
            known: the variables of the try, with `__` for a dot: status, duration, and its inputs
                and outputs as far as there are any.
        """
        scope = Scope({name.replace("__", "."): value for name, value in known.items()})
        for metric in template["metrics"]["prometheus"]:
            try:
                self._count(scope.fill(metric))
            except ManifestError as error:
                self.problems.append(f"{metric['name']}: {error}")

    def _count(self, metric: Mapping[str, Any]) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", metric["name"]):
            raise ManifestError("is no name of a metric")
        left, _, right = metric.get("when", " == ").partition(" == ")
        if left == right:
            histogram = metric["histogram"]
            made = _Histogram(metric["help"], histogram["buckets"])
            known = self._metrics.setdefault(metric["name"], made)
            if (known.help, known.buckets) != (made.help, made.buckets):
                raise ManifestError("is already counted in another way")
            labels = tuple((label["key"], label["value"]) for label in metric["labels"])
            known.record(labels, float(histogram["value"]))

    def text(self) -> str:
        """What a scrape gives."""
        lines = [line for name, each in self._metrics.items() for line in each.lines(PREFIX + name)]
        return "".join(f"{line}\n" for line in lines)


class _Server(ThreadingHTTPServer):
    controller: Controller


class _Page(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        body = self.server.controller.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def _braced(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"


_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([-+.0-9einfNaI]+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"')


def parsed(text: str) -> dict[Sample, float]:
    """The samples of Prometheus' text format.

    Raises:
        ValueError: it is not well formed: a line that is none, a sample that stands twice or before its type,
            a histogram whose buckets do not add up to its count.
    """
    samples: dict[Sample, float] = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, kind, name, rest = line.split(" ", 3)
            if kind == "TYPE":
                types[name] = rest
            continue
        match = _LINE.fullmatch(line)
        if not match or _LABEL.sub("", match[2] or "").strip(","):
            raise ValueError(f"{line!r} is no sample")
        sample = Sample(match[1], frozenset(_LABEL.findall(match[2] or "")))
        family = re.sub(r"_(bucket|sum|count)$", "", sample.name)
        if sample in samples or not types.keys() & {family, sample.name}:
            raise ValueError(f"{line!r} stands twice, or before its type")
        samples[sample] = float(match[3])
    for sample, value in samples.items():
        if sample.name.endswith("_count"):
            last = Sample(f"{sample.name.removesuffix('_count')}_bucket", sample.labels | {("le", "+Inf")})
            if samples.get(last) != value:
                raise ValueError(f"{sample}: the buckets do not add up to the count")
    return samples
