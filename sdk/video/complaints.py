"""What FFmpeg prints of a container whose structure is broken, and otherwise reads on as if nothing were missing.

Named are only lines that sound files do not cause: an odd date, an unknown kind of track and the like are complained
about at the same level, with every frame there.

Imported by the worker process, therefore without NumPy.
"""

from __future__ import annotations

import re

PREMATURE = "File ended prematurely"
"""Of a Matroska file whose last part is shorter than it announces."""
BROKEN = {
    "matroska,webm": re.compile(
        f"{PREMATURE}|Read error at pos|EBML number|EBML element depth|exceeds containing master element|"
        "Unknown-sized element|Invalid length 0x|unknown length, yet|Found unknown-length element with ID"
    ),
    "flv": re.compile("Packet mismatch"),
    "ogg": re.compile("CRC mismatch"),
    "asf": re.compile("packet_(obj|frag)_size .*invalid|packet_replic_size|packet fragment position invalid"),
}
"""By FFmpeg's name of the container; other containers print nothing of the kind."""
TRUNCATED = "Truncating packet of size"
"""Of every container: a packet announces more than the file has."""


def broken(container: str, printed: str) -> str:
    """The first line of ``printed`` that says that ``container`` is broken, and packets may be lost; empty if none."""
    lines = BROKEN.get(container)
    return next((line for line in printed.splitlines() if TRUNCATED in line or (lines and lines.search(line))), "")
