"""What the service costs: uploads over HTTP from another process, beside the bare Analyzer on the same uploads.

    python -m benchmarks.service [--photograph FILE] [--calls 40] [--rounds 3] [--connections 1 2]

Between them stands the examination in process: the Analyzer with the policy's decision and the record, which the
service makes besides. They take turns, so that a machine that grows slow is slow for all. Every upload has the
photograph's pixels and a number in a comment: no two are the same file, so that none is answered from a record. Writes
``benchmarks/results/service-<artifact>-<host>.json``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import sdk
from benchmarks.entry import RESULTS, heading, write
from sdk import artifact as artifacts
from sdk.examiner import opened

PHOTOGRAPH = Path(sdk.__file__).parent / "samples" / "gun.jpg"
READY_SECONDS = 120
BARE, SERVICE = "bare", "service"
MOST_ADDED_MS, MOST_LOST = 5.0, 0.05
"""What the service may add to the median, and take of the throughput."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH, help="a JPEG")
    parser.add_argument("--calls", type=int, default=40, help="uploads of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    files = uploads(options.photograph.read_bytes())
    rows = []
    for connections in options.connections:
        with (
            opened(artifact.path) as examiner,
            served(artifact.path, workers=connections) as server,
            Client(server.port) as client,
        ):
            (analyzer,) = examiner.analyzers.values()
            contenders = {BARE: analyzer.analyze, "examined": examiner.examine, SERVICE: client.analysed}
            rows += measured(contenders, files, connections=connections, calls=options.calls, rounds=options.rounds)
    protocol = {"photograph": options.photograph.name, "calls": options.calls, "rounds": options.rounds}
    result = heading("service", artifact) | {"protocol": protocol, "rows": rows, "costs": costs(rows)}
    print("\n".join(table(result["costs"])))
    print(write(result, options.results, host=options.host, hide=artifact.path))


def measured(
    contenders: dict[str, Callable[[bytes], object]],
    files: Iterator[bytes],
    *,
    connections: int,
    calls: int,
    rounds: int,
) -> list[dict[str, object]]:
    """A row for each contender: quantiles over all its calls, and the median round's throughput."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    walls: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender(next(files))
    for name in itertools.chain.from_iterable(itertools.repeat(tuple(contenders), rounds)):
        taken, wall = turn(contenders[name], [next(files) for _ in range(calls)], connections)
        times[name] += taken
        walls[name].append(wall)
    return [
        {"contender": name, "connections": connections, "calls": len(taken)}
        | {f"p{rank}_ms": float(np.percentile(taken, rank)) for rank in (50, 95, 99)}
        | {"per_s": calls / float(np.median(walls[name]))}
        for name, taken in times.items()
    ]


def turn(call: Callable[[bytes], object], files: Sequence[bytes], connections: int) -> tuple[list[float], float]:
    """Milliseconds of each call, and seconds of all, by ``connections`` threads."""

    def timed(file: bytes) -> float:
        start = time.perf_counter()
        call(file)
        return 1e3 * (time.perf_counter() - start)

    with ThreadPoolExecutor(connections) as threads:
        start = time.perf_counter()
        taken = list(threads.map(timed, files))
        return taken, time.perf_counter() - start


def costs(rows: Sequence[dict[str, object]]) -> list[dict[str, float]]:
    """What the service adds to the median and takes of the throughput, by connections, and whether that is little."""
    found = []
    of = {name: [row for row in rows if row["contender"] == name] for name in (BARE, SERVICE)}
    for bare, service in zip(*of.values(), strict=True):
        added = float(str(service["p50_ms"])) - float(str(bare["p50_ms"]))
        kept = float(str(service["per_s"])) / float(str(bare["per_s"]))
        within = added <= MOST_ADDED_MS and 1 - kept <= MOST_LOST
        cost = {"p50_added_ms": added, "throughput_lost": 1 - kept, "within_bounds": within}
        found.append({"connections": int(str(bare["connections"])), **cost})
    return found


def table(found: Sequence[dict[str, float]]) -> list[str]:
    """Both bounds for each number of connections, in Markdown: kept or missed."""
    lines = ["| connections | what | asked, at most | found | so |", "| --: | --- | --: | --: | --- |"]
    for cost in found:
        for what, bound, key, form in (
            ("added to the median, ms", MOST_ADDED_MS, "p50_added_ms", ".1f"),
            ("taken of the throughput", MOST_LOST, "throughput_lost", ".1%"),
        ):
            so = "pass" if cost[key] <= bound else "miss"
            lines.append(f"| {cost['connections']} | {what} | {bound:{form}} | {cost[key]:{form}} | {so} |")
    return lines


def uploads(photograph: bytes) -> Iterator[bytes]:
    """Files of the same pixels and different digests: a JPEG comment holds a number."""
    for number in itertools.count():
        comment = f"{number:08d}".encode()
        yield photograph[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photograph[2:]


class Client:
    """Uploads over connections that are kept, one for each thread.

    It asks as load generators in C do, with little that it would take from the service on the same cores.
    """

    def __init__(self, port: int) -> None:
        self._port, self._own = port, threading.local()
        self._all = contextlib.ExitStack()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def analysed(self, file: bytes) -> bytes:
        """The service's answer to an upload that it has to be able to examine."""
        if not hasattr(self._own, "wire"):
            with socket.create_connection(("127.0.0.1", self._port), timeout=120) as connection:
                self._own.wire = self._all.enter_context(connection.makefile("rwb"))
        status, document = asked(self._own.wire, file)
        if status != 200:
            raise ValueError(f"the service answered {status}: {document!r}\n  -> look at its standard error")
        return document


def asked(wire: BinaryIO, file: bytes) -> tuple[int, bytes]:
    """The status and document of one answer, of whose head nothing else is read; status 0 if the service hung up."""
    wire.write(b"POST /v1/analyze HTTP/1.1\r\nHost: service\r\nContent-Length: %d\r\n\r\n" % len(file) + file)
    wire.flush()
    status, length = b"".join(wire.readline().split()[1:2]), b"0"
    while line := wire.readline().rstrip():
        if line.lower().startswith(b"content-length:"):
            length = line.partition(b":")[2]
    return int(status or 0), wire.read(int(length))


def post(port: int, file: bytes) -> tuple[int, dict[str, Any]]:
    """The status and document with which the service answers one upload, over a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        connection.request("POST", "/v1/analyze", file)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@dataclass(frozen=True, slots=True)
class Server:
    """A service that runs."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    """What it says to standard error."""


@contextlib.contextmanager
def served(model: Path, *, workers: int) -> Iterator[Server]:
    """A service in a process of its own, ready, with a database in a temporary folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        settings = f"models = [{json.dumps(str(model))}]\nworkers = {workers}\nper_minute = 1000000\n"
        (Path(folder) / "serve.toml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "sdk", "serve", "--config", "serve.toml", "--anyone", "--port", str(port)]
        path = os.environ | {"PYTHONPATH": str(Path(sdk.__file__).parents[1])}
        log = Path(folder) / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(command, cwd=folder, env=path, stderr=said)
        try:
            wait_until_ready(port, process)
            yield Server(port, process, log)
        finally:
            process.terminate()
            process.wait()


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for ``/readyz`` to answer 200."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise ValueError("the service did not become ready\n  -> run it by hand: imdl serve --anyone")


if __name__ == "__main__":
    main()
