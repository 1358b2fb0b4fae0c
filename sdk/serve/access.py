"""Who may do what, and how often: API keys, of which only digests are stored, and a quota for each."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError

from sdk.errors import BadSetting, ServiceRefused, UnknownName
from sdk.serve.database import Database
from sdk.serve.tables import keys

Role = Literal["submit", "review"]
"""``submit`` hands in uploads and sees its own; ``review`` sees those that were flagged, whoever handed them in."""
PREFIX = "imdl_"
CACHE_SECONDS = 5.0
"""Time after which a revoked key stops working."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose request it is."""

    name: str
    role: Role
    per_minute: int | None = None
    webhook: str | None = None


ANYONE = Tenant("anyone", "review")
"""Whose requests without a key are, where they are served."""


class Keys:
    """The API keys in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: dict[str, tuple[float, Tenant | None]] = {}

    def add(self, name: str, *, role: Role, per_minute: int | None = None, webhook: str | None = None) -> str:
        """Make a key and return it; it cannot be read again later."""
        if webhook is not None and not _is_address(webhook):
            raise BadSetting(f"webhook {webhook!r} is no address", remedy="give http://... or https://...")
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise BadSetting(f"the name {name!r} cannot be used", remedy="give 1 to 64 letters")
        if per_minute is not None and per_minute < 1:
            raise BadSetting(f"per_minute is {per_minute}", remedy="give 1 or more")
        key = PREFIX + secrets.token_urlsafe(32)
        values = {"name": name, "digest": digest(key), "role": role, "per_minute": per_minute, "webhook": webhook}
        try:
            with self._database.write() as connection:
                connection.execute(insert(keys).values(**values, created=time.time()))
        except IntegrityError as error:
            raise BadSetting(f"there is a key named {name!r}", remedy="take another name") from error
        return key

    def revoke(self, name: str) -> None:
        """Let a key work no longer."""
        with self._database.write() as connection:
            found = connection.execute(
                update(keys).where(keys.c.name == name, keys.c.revoked.is_(None)).values(revoked=time.time())
            )
            if not found.rowcount:
                raise UnknownName("key", name, [row.name for row in self.all() if row.revoked is None])

    def all(self) -> list[Listed]:
        """Every key, by name."""
        columns = [keys.c[name] for name in Listed.__dataclass_fields__]
        with self._database.read() as connection:
            return [Listed(*row) for row in connection.execute(select(*columns).order_by(keys.c.name))]

    def seen(self, key: str) -> Tenant | None:
        """Whose key it is, if that was looked up a few seconds ago."""
        seen = self._seen.get(digest(key))
        return seen[1] if seen and seen[0] >= time.monotonic() else None

    def tenant(self, key: str) -> Tenant | None:
        """Whose key it is; None if nobody's, or revoked for a few seconds."""
        known, now = digest(key), time.monotonic()
        seen = self._seen.get(known)
        if seen is None or seen[0] < now:
            if len(self._seen) > 10_000:  # strangers try keys
                self._seen.clear()
            seen = self._seen[known] = (now + CACHE_SECONDS, self._read(known))
        return seen[1]

    def _read(self, known: str) -> Tenant | None:
        columns = (keys.c.name, keys.c.role, keys.c.per_minute, keys.c.webhook)
        valid = select(*columns).where(keys.c.digest == known, keys.c.revoked.is_(None))
        with self._database.read() as connection:
            row = connection.execute(valid).one_or_none()
        return None if row is None else Tenant(*row)


@dataclass(frozen=True, slots=True)
class Listed:
    """What can be told of a key."""

    name: str
    role: str
    per_minute: int | None
    webhook: str | None
    created: float
    revoked: float | None


class Quotas:
    """A bucket for each tenant that holds a minute's uploads and fills evenly. Used from one thread."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, tenant: Tenant, *, now: float | None = None) -> None:
        """Count one upload of ``tenant``, or refuse it and say when the next is welcome."""
        moment = time.monotonic() if now is None else now
        size = tenant.per_minute or self._per_minute
        level, then = self._buckets.get(tenant.name, (float(size), moment))
        level = min(float(size), level + (moment - then) * size / 60)
        if level < 1:
            wait = (1 - level) * 60 / size
            raise ServiceRefused(
                f"the key's {size} uploads a minute are used up",
                remedy="slow down",
                status=429,
                retry_after=wait,
                bound="per_minute",
            )
        self._buckets[tenant.name] = (level - 1, moment)


def _is_address(url: str) -> bool:
    """Whether a webhook can be sent to ``url``."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in url
    except ValueError:  # a port or an address that cannot be
        return False


def digest(key: str) -> str:
    """SHA-256 of a key. It has 256 random bits: nobody guesses it from this, and no slow hash is needed."""
    return hashlib.sha256(key.encode()).hexdigest()
