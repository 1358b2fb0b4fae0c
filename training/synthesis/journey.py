"""Where a picture goes after it was made, drawn before it is: saved, uploaded, photographed off a screen, filmed.

The route decides at which side a sample is manipulated, so that every hop may shrink or enlarge it and it still ends
at the side that was asked for. It is drawn before the kind of sample is, hence alike for authentic and manipulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.synthesis.sample import between, mixed, pick

EASY_ROUTES = {"kept": 0.7, "saved": 0.3}
ROUTES = {"kept": 0.18, "saved": 0.44, "uploaded": 0.2, "screenshot": 0.1, "video": 0.08}
"""How often each route is taken at hardness 0 and 1."""
RESIZED = 0.4
"""Share of pictures, at hardness 1, that an editor resizes when it saves them, by ``EDITED``."""
EDITED = (0.75, 1.5)
LARGE = 0.22
"""Share, at hardness 1, that is analysed at a working size below its own: shrunk by area averaging, and last of all."""
LARGEST_SHRINK = 4.0
LARGEST_SIDE = 1536
"""Samples are not made at more than this on purpose, px: few photographs are larger, and time grows with the square."""


@dataclass(frozen=True, slots=True)
class Platform:
    """What a service does to a picture that is sent through it."""

    limit: int
    """Longest side that it keeps, px."""
    qualities: tuple[int, int]
    """JPEG qualities that it saves at, first and last."""
    subsample: bool = True
    """Whether chroma is halved, 4:2:0."""


PLATFORMS = {
    "messenger": Platform(1600, (68, 82)),
    "small_messenger": Platform(1280, (75, 88)),
    "social": Platform(2048, (71, 87)),
    "feed": Platform(1080, (70, 85)),
    "microblog": Platform(4096, (80, 86)),
    "gallery": Platform(2560, (85, 93), subsample=False),
    "forum": Platform(1024, (60, 90)),
}
"""Kinds of services by what pictures from such services commonly show; no company's exact settings."""


@dataclass(frozen=True, slots=True)
class Journey:
    """The way of one picture from its making to the network."""

    made: int
    """Side at which it is manipulated, px."""
    sent: int
    """Side at which it arrives, px."""
    size: int
    """Side at which it is analysed, px; below ``sent`` for large pictures."""
    route: str
    """A key of ``ROUTES``."""
    hops: tuple[tuple[str, int], ...] = ()
    """Of an upload: platforms, and the side after each, px."""


def drawn(size: int, rng: np.random.Generator, hardness: float, *, video: bool = True) -> Journey:
    """A random journey that ends at ``size``; without ``video`` none leads through a video codec."""
    routes = mixed(EASY_ROUTES, ROUTES, hardness)
    route = pick(rng, routes if video else {name: routes[name] for name in routes if name != "video"})
    sent = size
    if rng.random() < LARGE * hardness:
        sent = round(size * LARGEST_SHRINK ** between(rng, 0.2, 1.0))
        sent = max(size, min(sent, LARGEST_SIDE))
    if route == "uploaded":
        return _uploaded(Journey(sent, sent, size, route), rng)
    scale = 1.0
    if route == "screenshot":
        scale = between(rng, 0.6, 1.6)  # points of the screen for one of the picture
    elif rng.random() < RESIZED * hardness:
        scale = 1 / between(rng, *EDITED)
    return Journey(_made(sent, size, scale), sent, size, route)


def _uploaded(journey: Journey, rng: np.random.Generator) -> Journey:
    """With one to three platforms, each of which shrinks what is longer than its limit."""
    names = [str(name) for name in rng.choice(list(PLATFORMS), int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])))]
    long_side = min(PLATFORMS[name].limit for name in names) * between(rng, 0.9, 2.0)
    reached, first = [], long_side
    for name in names:
        long_side = min(long_side, PLATFORMS[name].limit)
        reached.append(long_side)
    made = _made(journey.sent, journey.size, long_side / first)
    sides = [min(round(journey.sent * reach / long_side), made) for reach in reached]
    return Journey(made, journey.sent, journey.size, journey.route, tuple(zip(names, sides, strict=True)))


def _made(sent: int, size: int, scale: float) -> int:
    """The side that becomes ``sent`` when scaled, within what there are photographs for."""
    return min(round(sent / scale), max(LARGEST_SIDE, sent), round(LARGEST_SHRINK * size))
