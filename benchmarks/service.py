"""What the service costs: uploads over HTTP from another process, beside the bare Analyzer on the same uploads.

    python -m benchmarks.service [--photograph FILE] [--seconds 10] [--rounds 5] [--connections 1 2]

wrk sends them (``apt-get install wrk``). Between them stands the examination in process: the Analyzer with the policy's
decision and the record, which the service makes besides. Before them stands the Analyzer that decodes inside its own
process: what it takes less is the price of a process for hostile files. All take turns, so that a machine that grows
slow is slow for all. Every upload has the photograph's pixels and a number in a comment: no two are the same file, so
that none is answered from a record. Writes ``benchmarks/results/service-<artifact>-<host>.json``.
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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import sdk
from benchmarks import wrk
from benchmarks.entry import RESULTS, heading, write
from sdk import artifact as artifacts
from sdk.examiner import opened

PHOTOGRAPH = Path(sdk.__file__).parent / "samples" / "gun.jpg"
READY_SECONDS = SETTLED_SECONDS = 120
BARE, SERVICE = "bare", "service"
MOST_ADDED_MS, MOST_LOST = 5.0, 0.05
"""What the service may add to the median, and take of the throughput."""
NUMBERS = 1_000_000
"""Of uploads that a turn may have."""
SETTLED = b"\nimdl_inflight 0.0\n"
"""What ``/metrics`` says once nothing is under way."""

Contender: TypeAlias = Callable[[int, int], wrk.Turn]
"""Takes a turn of so many seconds, whose uploads have the numbers from the first one on."""


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.service", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--photograph", type=Path, default=PHOTOGRAPH, help="a JPEG")
    parser.add_argument("--seconds", type=int, default=10, help="length of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    wrk.program()
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    photograph = options.photograph.resolve()
    rows = []
    for connections in options.connections:
        with (
            sdk.load(artifact.path, decode="inline") as inline,
            opened(artifact.path) as examiner,
            served(artifact.path, workers=connections) as server,
        ):
            (analyzer,) = examiner.analyzers.values()
            inside = {"decoding inside": inline.analyze, BARE: analyzer.analyze, "examined": examiner.examine}
            data = photograph.read_bytes()
            contenders = {name: in_process(call, data, connections=connections) for name, call in inside.items()}
            contenders[SERVICE] = over_http(server.port, photograph, connections=connections)
            rows += measured(contenders, connections=connections, seconds=options.seconds, rounds=options.rounds)
    protocol = {"photograph": photograph.name, "seconds": options.seconds, "rounds": options.rounds, "client": "wrk"}
    result = heading("service", artifact) | {"protocol": protocol, "rows": rows, "costs": costs(rows)}
    print("\n".join(table(result["costs"])))
    print(write(result, options.results, host=options.host, hide=artifact.path))


def measured(
    contenders: dict[str, Contender], *, connections: int, seconds: int, rounds: int
) -> list[dict[str, object]]:
    """A row for each contender: quantiles over all its calls, and calls by the second of all its turns."""
    firsts = itertools.count(0, NUMBERS)
    for contender in contenders.values():
        contender(next(firsts), 1)
    turns: dict[str, list[wrk.Turn]] = {name: [] for name in contenders}
    for name in itertools.chain.from_iterable(itertools.repeat(tuple(contenders), rounds)):
        turns[name].append(contenders[name](next(firsts), seconds))
    return [row(name, taken, connections) for name, taken in turns.items()]


def row(name: str, turns: Sequence[wrk.Turn], connections: int) -> dict[str, object]:
    """What the turns of one contender come to."""
    calls, ms = sum(turn.calls for turn in turns), [each for turn in turns for each in turn.ms]
    if not calls:
        raise ValueError(f"{name} ended no call in a turn of {turns[0].seconds:g} s\n  -> give more --seconds")
    quantiles = {f"p{rank}_ms": float(np.percentile(ms, rank)) for rank in (50, 95, 99)}
    per_s = calls / sum(turn.seconds for turn in turns)
    return {"contender": name, "connections": connections, "calls": calls} | quantiles | {"per_s": per_s}


def in_process(call: Callable[[bytes], object], photograph: bytes, *, connections: int) -> Contender:
    """Calls by ``connections`` threads, counted as wrk counts its own: those that end before the turn does."""

    def turn(first: int, seconds: int) -> wrk.Turn:
        numbers, end = itertools.count(first), time.perf_counter() + seconds

        def calls() -> list[float]:
            taken: list[float] = []
            while True:
                file = upload(photograph, next(numbers))
                start = time.perf_counter()
                call(file)
                now = time.perf_counter()
                if now > end:
                    return taken
                taken.append(1e3 * (now - start))

        with ThreadPoolExecutor(connections) as threads:
            each = [threads.submit(calls) for _ in range(connections)]
            ms = [taken for thread in each for taken in thread.result()]
        return wrk.Turn(wrk.with_missed(ms, seconds=seconds, connections=connections), len(ms), float(seconds))

    return turn


def over_http(port: int, photograph: Path, *, connections: int) -> Contender:
    """Uploads by wrk to the service; the turn is over when the service has ended what wrk no longer waits for."""

    def turn(first: int, seconds: int) -> wrk.Turn:
        taken = wrk.turn(port, photograph, first=first, seconds=seconds, connections=connections)
        wait_until_settled(port)
        return taken

    return turn


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


def upload(photograph: bytes, number: int) -> bytes:
    """A file of the same pixels and another digest: a JPEG comment holds the number."""
    return photograph[:2] + b"\xff\xfe\0\x0e%012d" % number + photograph[2:]


def got(port: int, path: str) -> tuple[int, bytes]:
    """The status and body of the answer to a GET."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()


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
        with contextlib.suppress(OSError):
            if got(port, "/readyz")[0] == 200:
                return
        time.sleep(0.1)
    raise ValueError("the service did not become ready\n  -> run it by hand: imdl serve --anyone")


def wait_until_settled(port: int) -> None:
    """Wait for nothing to be under way."""
    deadline = time.monotonic() + SETTLED_SECONDS
    while SETTLED not in got(port, "/metrics")[1]:
        if time.monotonic() > deadline:
            raise ValueError("the service did not end what wrk began\n  -> look at its standard error")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
