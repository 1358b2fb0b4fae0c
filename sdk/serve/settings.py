"""How the service runs: one dataclass, read from TOML."""

from __future__ import annotations

import dataclasses
import sys
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from sdk.errors import BadSetting, UnknownName
from sdk.limits import Limits
from sdk.serve.fetching import listed
from sdk.video.limits import VideoLimits

Decode = Literal["worker", "fresh"]
Keep = Literal["flagged", "all", "none"]
Synced = Literal["jobs", "all"]


LARGEST = 500 * 2**20
"""Bytes of a file in the database: PostgreSQL reads a value only while twice its size is below a gigabyte."""
FROM_ZERO = ("threads", "retain_days", "max_video_bytes")
"""Settings that may be 0."""
MOST = {"max_share": 1.0, "workers": 256, "videos_at_once": 256, "webhooks_at_once": 256, "threads": 1024}
"""Of those that have a highest value: a part of all, and threads, of which a machine has only so many."""
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple: 'a list of texts: ["a", "b"]',
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that can be chosen; the defaults suit one small machine."""

    database: str = "sqlite:///imdl.db"
    """SQLAlchemy's URL: ``sqlite:///FILE`` or ``postgresql://USER@HOST/NAME``."""
    models: tuple[str, ...] = ()
    """Names or paths of artifacts; empty for the default one."""
    device: str = "auto"
    backend: str = ""
    """Name of a runtime; empty for the fastest."""
    precision: str = "auto"
    threads: int = 0
    """CPU threads of the runtime for one analysis; 0 leaves it to the runtime."""
    policy: str = "default"
    """Name or path of the policy that decides."""
    shadow: str = ""
    """Name or path of a policy on trial, whose decisions are recorded and have no effect."""
    sign: str = ""
    """PEM file of the Ed25519 key that signs records; empty for none."""
    secret: str = "imdl.secret"
    """File of the secret from which those of webhooks are derived; made when it is missing."""
    anyone: bool = False
    """Whether requests without a key are served; to this machine alone."""
    workers: int = 1
    """Files that are examined at once."""
    max_bytes: int = Limits().bytes
    """Size of one file, bytes."""
    max_pixels: int = Limits().pixels
    large_bytes: int = 16 * 2**20
    """Size of a file, bytes, beyond which it is large: ``POST /v1/analyze`` refuses it and names ``POST /v1/jobs``.
    A JPEG of ``large_pixels`` rarely has more."""
    large_pixels: int = 20_000_000
    """Width times height, by its header, beyond which a picture is. With ``psccnet-lite`` at its own working size each
    million costs about a tenth of a second of one core and 50 MiB: answers take up to two seconds of one, and 1 GiB."""
    max_video_bytes: int = 0
    """Size of one video, bytes; 0 is all that one key may upload at once, up to the 500 MiB of a file that a database
    holds. Videos are taken as jobs. Memory for one: about five times its size while it is received and examined."""
    max_video_frames: int = 18_000
    """Its frames, ten minutes at 30 a second; one that announces more is not begun, and none goes on after so many."""
    max_video_seconds: float = 1800.0
    """Time to examine it, after which what was found until then counts."""
    videos_at_once: int = 1
    """Videos that are examined at once, beside pictures."""
    decode: Decode = "worker"
    """``worker``: processes decode one upload after the other; ``fresh``: one for each, at the cost of its start, so
    that a hostile upload meets no other."""
    max_inflight: int = 32
    """Uploads that are received or waited for at once."""
    max_bytes_inflight: int = 256 * 2**20
    """Bytes of them, all together."""
    max_share: float = 0.5
    """Part of those uploads and bytes that one key may take, and of the jobs that wait."""
    max_queue: int = 1000
    """Pictures that wait to be examined, and again videos: one kind leaves room for the other. Keys take turns."""
    seconds: float = 30.0
    """Time for an upload to arrive, and again for its answer."""
    per_minute: int = 600
    """Uploads of one key, unless the key says otherwise."""
    synced: Synced = "jobs"
    """What a power cut takes nothing of: ``jobs`` that were accepted, their answers, decisions and keys, but not the
    latest answers of ``POST /v1/analyze``, whose uploads would be examined anew; or ``all``, at the cost of waiting for
    the disk each time. The death of the process takes nothing either way."""
    fetch: tuple[str, ...] = ()
    """Origins, such as ``https://cdn.example``, of which ``POST /v1/jobs?url=...`` fetches files of ``max_bytes`` at
    most, from public addresses alone and by no redirect; empty for none."""
    lease_seconds: float = 60.0
    """Time after which a job of a server that has gone away is taken by another; live ones renew theirs."""
    max_attempts: int = 5
    """How often a job is begun that ends with the server's death or a fault of the machine."""
    metadata: bool = True
    """Whether records say what files state about themselves: EXIF without place and names, and C2PA manifests."""
    keep: Keep = "flagged"
    """Of which uploads small pictures, of frame and heatmaps, are kept. The uploaded file itself never is."""
    retain_days: float = 30.0
    """Days after which pictures are deleted; records stay."""
    webhook_attempts: int = 8
    """Deliveries that are tried before one is called dead; the pause doubles each time."""
    webhook_seconds: float = 1.0
    """Pause after the first that failed, on average."""
    webhook_timeout: float = 10.0
    """Time for the receiver to take a delivery and answer, all in all."""
    webhooks_at_once: int = 8
    """Deliveries under way at once; to one receiver, one."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            least = 0 if field.name in FROM_ZERO else 1 if isinstance(value, int) else 1e-3
            most = MOST.get(field.name, sys.float_info.max)
            if not least <= value <= most:
                bound = f"from {least} to {most}" if field.name in MOST else f"that is finite, {least} or more"
                raise BadSetting(f"{field.name} is {value!r}", remedy=f"give {_KINDS[type(field.default)]} {bound}")
        if self.decode not in get_args(Decode):
            raise UnknownName("way of decoding uploads", self.decode, get_args(Decode))
        for name, known in (("keep", Keep), ("synced", Synced)):
            if getattr(self, name) not in get_args(known):
                raise UnknownName(f"value of {name}", getattr(self, name), get_args(known))
        listed(self.fetch)  # once, for all requests
        share = self._share
        for name in ("max_bytes", "max_video_bytes"):
            if getattr(self, name) > LARGEST:
                raise BadSetting(
                    f"{name} is {getattr(self, name):,}, and a database holds files of {LARGEST:,} bytes at most",
                    remedy=f"lower {name}",
                )
            if getattr(self, name) > share:  # such a file would get through only while its key uploads nothing else
                raise BadSetting(
                    f"{name} is {getattr(self, name):,}, and one key gets {share:,} bytes: max_share of "
                    "max_bytes_inflight",
                    remedy=f"lower {name}, or raise max_bytes_inflight",
                )

    @property
    def _share(self) -> int:
        """Bytes that one key may upload at once."""
        return int(self.max_share * self.max_bytes_inflight)

    @property
    def limits(self) -> Limits:
        """What one file may cost."""
        return Limits(bytes=self.max_bytes, pixels=self.max_pixels)

    @property
    def video_limits(self) -> VideoLimits:
        """What one video may cost."""
        pixels = min(self.max_pixels, VideoLimits().pixels)
        most = self.max_video_bytes or min(self._share, LARGEST)
        return VideoLimits(bytes=most, pixels=pixels, frames=self.max_video_frames)


def read(path: Path | None, **changes: object) -> Settings:
    """The settings in the TOML file at ``path``; ``changes`` that are not None come before it."""
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadSetting(f"{path} cannot be read: {error}", remedy="give a TOML file of settings") from error
    values |= {name: value for name, value in changes.items() if value is not None}
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, value in values.items():
        if name not in defaults:
            raise UnknownName("setting of the service", name, defaults)
        values[name] = _like(defaults[name], value, name)
    return Settings(**values)


def _like(default: object, value: object, name: str) -> object:
    """``value`` if it is of the type of ``default``; lists become tuples and whole numbers numbers."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = tuple(value)
    if type(default) is float and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise BadSetting(f"{name} is {value!r}", remedy=f"give {_KINDS[type(default)]}")
    return value
