"""What an error of the database means, to whoever runs the service: the problem in its own words, and a remedy."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from sdk.errors import BadSetting

if TYPE_CHECKING:
    from sdk.serve.database import Database

FULL = "53100"
"""PostgreSQL's code of a full disk."""
_SQLITE = {
    sqlite3.SQLITE_CANTOPEN: "name a file in a folder that exists and may be written: --database sqlite:///FILE",
    sqlite3.SQLITE_NOTADB: "name the service's own file: --database sqlite:///FILE",
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_READONLY: "let the file and its folder be written",
    sqlite3.SQLITE_BUSY: "end what holds it, or try again",
    sqlite3.SQLITE_CORRUPT: "restore a copy of the file",
}


@contextmanager
def explained(database: Database) -> Iterator[None]:
    """Turn errors of the database into BadSetting, with a remedy."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        raise BadSetting(f"{database.name} cannot be used: {words(error)}", remedy=_remedy(error)) from error


def words(error: Exception) -> str:
    """The driver's words, which hold neither a statement nor what was to be stored."""
    return " ".join(str(_driver(error)).split())


def is_full(error: Exception) -> bool:
    """Whether the disk of the database is full."""
    return _code(error) == sqlite3.SQLITE_FULL or getattr(_driver(error), "sqlstate", None) == FULL


def _remedy(error: Exception) -> str:
    if isinstance(_driver(error), sqlite3.Error):
        return _SQLITE.get(_code(error), "name the service's own file: --database sqlite:///FILE")
    if is_full(error):
        return "make room on its disk"
    return "start it, or correct --database: postgresql://USER@HOST/NAME"


def _driver(error: Exception) -> object:
    return error.orig if isinstance(error, DBAPIError) else error


def _code(error: Exception) -> int:
    """SQLite's code without its extension; 0 of any other error."""
    return int(getattr(_driver(error), "sqlite_errorcode", 0)) & 0xFF
