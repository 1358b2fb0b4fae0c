"""Peak memory of a command: the resident pages of the process and of all it starts, together."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

PERIOD_S = 0.01
"""A shorter peak may be missed; the largest tensors of a frame live for longer."""


def peak_rss_mib(command: list[str]) -> float:
    """Run ``command`` to its end; its peak, MiB. Pages that processes share are counted once for each."""
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_kib, _family(process.pid))))
            time.sleep(PERIOD_S)
        words = process.stderr.read() if process.stderr else ""
    if peak == 0 or process.returncode not in (0, 1):  # 1: imdl found something
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}\n  -> {words.strip()[-500:]}")
    return peak / 1024


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            found.extend(map(int, _read(listing).split()))
    return found


def _resident_kib(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in _read(Path(f"/proc/{pid}/status")).splitlines())
    return int(fields.get("VmRSS", "0 kB").split()[0])


def _read(path: Path) -> str:
    """A file of /proc, empty once its process has gone."""
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return ""
