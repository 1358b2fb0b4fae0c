"""What damaged and hostile files do to the service: thousands of uploads to ``imdl serve`` in a process of its own.

    python -m benchmarks.hostile [--mutated 10000] [--odd FOLDER] [--connections 4] [--first 0]

Sent are damaged files by number (:mod:`benchmarks.mutation`), between them every file below ``--odd``. An upload has to
be answered: with a decision, or with a refusal that is no fault. Exit code 1 if one was not, or the service
ended or logged a fault.
Writes ``benchmarks/results/hostile-<artifact>-<host>.json``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.entry import RESULTS, heading, write
from benchmarks.memory import family, kib
from benchmarks.mutation import encoders, mutated, names
from benchmarks.service import Server, post, served
from sdk import artifact as artifacts

SAMPLE_SECONDS = 0.25
PATIENCE = 20
"""How often an upload that comes too soon is sent again."""
EXPECTED = {200, 413, 422, 504}
"""Answers that say something about the file: a decision, too large, empty, longer than the service lets one wait."""
LOST_DECODER = ("the decoding process was stopped", "the decoding process ended", "the decoding process answered",
                "longer than the limit seconds")  # fmt: skip
"""How the answer to a file begins that cost its decoder the process."""


@dataclass
class Seen:
    """What came of the uploads."""

    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    """Actions of analysed files, and the errors of the others."""
    unexpected: list[str] = field(default_factory=list)
    """Which uploads were not answered as they should be."""
    decoders_lost: int = 0
    slowest_s: float = 0.0
    slowest: str = ""


class Watch:
    """Resident memory and processes of a server, sampled in a thread."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.mib: list[float] = []
        """Of the service and its decoders, together."""
        self.processes: set[int] = set()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:  # once at least, however short the run
            members = family(self._pid)
            self.processes |= set(members)
            self.mib.append(sum(kib(pid, "VmRSS") for pid in members) / 1024)
            if self._ending.wait(SAMPLE_SECONDS):
                return


def main(arguments: list[str] | None = None) -> int:
    """Send, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    parser.add_argument("--mutated", type=int, default=10_000, metavar="N", help="damaged files")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first of them")
    parser.add_argument("--odd", type=Path, metavar="FOLDER", help="files that are sent too")
    parser.add_argument("--connections", type=int, default=4, help="uploads at once")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact).resolve())
    odd = sorted(path for path in options.odd.rglob("*") if path.is_file()) if options.odd else []
    files = mixed(range(options.first, options.first + options.mutated), odd, root=options.odd)
    start = time.perf_counter()
    with served(artifact.path, workers=min(2, options.connections)) as server, Watch(server.process.pid) as watch:
        seen = send(files, server, connections=options.connections)
        lasted = server.process.poll() is None and patiently(server.port, mutated(0)[1])[0] in EXPECTED
        faults = server.log.read_text(encoding="utf-8").count('"trace"')
    sent = {"mutated": options.mutated, "first": options.first, "odd": len(odd), "connections": options.connections}
    result = heading("hostile", artifact) | {"sent": sent | {"formats": names(), "encoders": encoders()}}
    result |= told(seen, watch, lasted=lasted, wall_s=time.perf_counter() - start) | {"traces_in_log": faults}
    print(write(result, options.results, host=options.host, hide=artifact.path))
    return int(bool(seen.unexpected) or not lasted or faults > 0)


def mixed(numbers: Iterable[int], odd: list[Path], *, root: Path | None) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of all uploads and how to get each, a file of the folder after every tenth damaged one."""
    given = ((str(path.relative_to(root or path.parent)), path.read_bytes) for path in odd)
    for number in numbers:
        yield f"mutated {number}", lambda number=number: mutated(number)[1]
        if number % 10 == 9:
            yield from itertools.islice(given, 1)
    yield from given


def send(files: Iterable[tuple[str, Callable[[], bytes]]], server: Server, *, connections: int) -> Seen:
    """Upload all, ``connections`` at once."""
    seen, lock = Seen(), threading.Lock()

    def one(file: tuple[str, Callable[[], bytes]]) -> None:
        name, read = file
        start = time.perf_counter()
        status, document = patiently(server.port, read())
        seconds = time.perf_counter() - start
        with lock:
            note(seen, name, status, document)
            if seconds > seen.slowest_s:
                seen.slowest_s, seen.slowest = seconds, name

    with ThreadPoolExecutor(connections) as threads:
        for _ in threads.map(one, files):
            pass
    return seen


def patiently(port: int, file: bytes) -> tuple[int | None, dict[str, Any]]:
    """The answer to an upload, which is sent again while there is no room for it; None if there is none."""
    for attempt in range(PATIENCE):
        try:
            status, document = post(port, file)
        except (OSError, ValueError) as error:
            return None, {"error": {"type": type(error).__name__}}
        if status != 429:
            break
        time.sleep(1 + attempt)
    return status, document


def note(seen: Seen, name: str, status: int | None, document: dict[str, Any]) -> None:
    """Count one answer."""
    error = document.get("error")
    seen.statuses[str(status)] += 1
    seen.outcomes[error["type"] if error else str(document.get("action"))] += 1
    seen.decoders_lost += bool(error) and any(words in error.get("problem", "") for words in LOST_DECODER)
    if status not in EXPECTED:
        seen.unexpected.append(f"{name}: {status} {error['type'] if error else ''}")


def told(seen: Seen, watch: Watch, *, lasted: bool, wall_s: float) -> dict[str, Any]:
    """What is written about a run; memory is the median of its second and of its last tenth, and the peak."""
    count, tenth = sum(seen.statuses.values()), max(1, len(watch.mib) // 10)
    early, late = (
        sorted(part)[len(part) // 2] for part in (watch.mib[tenth : 2 * tenth] or watch.mib, watch.mib[-tenth:])
    )
    return {
        "uploads": count,
        "statuses": dict(sorted(seen.statuses.items())),
        "share_by_status": {status: number / count for status, number in sorted(seen.statuses.items())},
        "outcomes": dict(seen.outcomes.most_common()),
        "unexpected": seen.unexpected[:100],
        "service_lasted": lasted,
        "service_restarts": 0 if lasted else None,
        "decoders_lost": seen.decoders_lost,
        "processes_seen": len(watch.processes),
        "memory_mib": {"second_tenth": early, "last_tenth": late, "growth": late - early, "peak": max(watch.mib)},
        "slowest": {"upload": seen.slowest, "seconds": seen.slowest_s},
        "wall_s": wall_s,
        "uploads_per_s": count / wall_s,
    }


if __name__ == "__main__":
    sys.exit(main())
