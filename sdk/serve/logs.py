"""Structured logs: one JSON object on a line of standard error, with digests where a name would tell on somebody."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
import time

logger = logging.getLogger("sdk.serve")


class JsonLines(logging.Formatter):
    """A record with its ``extra={"facts": {...}}`` as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        line = {"time": moment, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "facts", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send what this service and uvicorn say to standard error. Only the command does this, no library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def say(event: str, **facts: object) -> None:
    """Log ``event``."""
    logger.info(event, extra={"facts": facts})


def short(name: str) -> str:
    """What stands for a name: the beginning of its SHA-256."""
    return hashlib.sha256(name.encode()).hexdigest()[:12]
