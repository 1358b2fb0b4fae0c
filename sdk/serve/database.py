"""The database: SQLite in one file or PostgreSQL, brought to the tables of this version by Alembic."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Dialect, Engine, Executable, PoolProxiedConnection, Select, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler

from sdk.errors import BadSetting
from sdk.serve import diagnosis

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 20
"""How long a writer waits for another in SQLite."""
LOG_BYTES = 16 * 2**20
"""Size that SQLite's log keeps; it is carried over by itself at about a quarter of that."""
CHAIN_LOCK = 0x494D444C
"""PostgreSQL's advisory lock of those who append to the chain of records."""
QUEUE_LOCKS = {"image": CHAIN_LOCK + 1, "video": CHAIN_LOCK + 2}
"""Those of who counts a queue to add to it."""


class Database:
    """Connections to one database, from any thread."""

    def __init__(self, url: str) -> None:
        try:
            parsed = sqlalchemy.make_url(url)
            if parsed.get_backend_name() == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            elif parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:") or parsed.query:
                raise BadSetting(f"database {parsed!r} is neither a file of SQLite nor PostgreSQL", remedy=_URLS)
            self.engine = sqlalchemy.create_engine(
                parsed,
                pool_pre_ping=parsed.get_backend_name() == "postgresql",
                hide_parameters=True,  # errors are logged: no upload, name or address with them
            )
        except (sqlalchemy.exc.ArgumentError, ValueError):  # whose words may hold a piece of the password
            raise BadSetting("the address of the database cannot be read", remedy=_URLS) from None
        except ImportError as error:
            raise BadSetting(f"the database cannot be opened: {error}", remedy=_URLS) from error
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self.file = Path(str(parsed.database)).resolve() if self.is_sqlite else None
        """Of SQLite."""
        self.full = ""
        """Why the last transaction that met a full disk failed; empty once there is room again."""
        if self.is_sqlite:
            _prepare_sqlite(self.engine)

    @property
    def name(self) -> str:
        """What can be told of where it is."""
        return f"the database {self.file}" if self.file else "the database"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self.engine.connect() as connection:
            yield connection

    def first(self, statement: Select[Any], values: Mapping[str, object]) -> Sequence[Any] | None:
        """The first row of ``statement``, a transaction of its own; as :func:`asked`."""
        connection = self.engine.raw_connection()
        try:
            return asked(connection, self.engine.dialect, statement, values)
        finally:
            connection.close()

    @contextmanager
    def write(self, *, chained: bool = False, synced: bool = True) -> Iterator[Connection]:
        """A transaction; with ``chained`` no other one of these runs at the same time.

        One that is not ``synced`` survives whatever happens to this process, and may be lost, whole, with the power.
        Every one that is takes with it those before.
        """
        options = {"writes": True, "synced": synced}
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                if not synced and not self.is_sqlite:
                    connection.execute(text("SET LOCAL synchronous_commit = off"))
                if chained:
                    self.wait_for(connection, CHAIN_LOCK)
                yield connection
        except DBAPIError as error:
            if diagnosis.is_full(error):
                self.full = diagnosis.words(error)
            raise

    def wait_for(self, connection: Connection, lock: int) -> None:
        """Hold ``lock`` until the transaction ends. In SQLite whoever writes is alone in any case."""
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})

    def has_room(self, size: int) -> bool:
        """Whether the disk was never found full, or a transaction works again, with ``size`` bytes free for a file.

        Of a disk smaller than twice that, half is enough. It is tried here, as nobody uploads to a service that is not
        ready.
        """
        if self.full and (self.file is None or _is_free(self.file.parent, size)):
            with suppress(DBAPIError):
                with self.write() as connection:
                    connection.execute(text("UPDATE alembic_version SET version_num = version_num"))
                self.full = ""
        return not self.full

    def migrate(self) -> None:
        """Bring the tables to those of this version; servers that start at the same time wait for each other.

        Raises:
            BadSetting: they are those of a later version.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with self.write(chained=True) as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise BadSetting(
                    f"{self.name} has the tables of a later version: {error}",
                    remedy="run that version again, or restore the copy that was made before the upgrade",
                ) from error

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def asked(
    connection: PoolProxiedConnection, dialect: Dialect, statement: Executable, values: Mapping[str, object]
) -> Sequence[Any] | None:
    """The first row of ``statement``, in the driver's own types, or None; for what every upload asks.

    The driver is asked itself: SQLAlchemy takes several times as long as SQLite does to find or write a row.
    """
    compiled = _compiled(statement, dialect, tuple(values))
    given, names, dbapi = {**compiled.params, **values}, compiled.positiontup, dialect.loaded_dbapi
    driver: Any = connection.driver_connection
    try:
        found = driver.execute(compiled.string, given if names is None else [given[name] for name in names])
        row: Sequence[Any] | None = found.fetchone() if found.description else None
        found.close()
    except dbapi.Error as error:
        raise DBAPIError.instance(compiled.string, None, error, dbapi.Error, hide_parameters=True) from error
    return row


@functools.lru_cache(maxsize=64)
def _compiled(statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> SQLCompiler:
    built: Any = statement
    compiled: SQLCompiler = built.compile(dialect=dialect, column_keys=names)
    return compiled


_URLS = "give sqlite:///FILE or postgresql://USER@HOST/NAME (pip install 'imdl-sdk[postgres]')"


def _is_free(folder: Path, size: int) -> bool:
    """Whether the disk of ``folder`` has ``size`` bytes free, or half of all that it has."""
    disk = shutil.disk_usage(folder)
    return disk.free >= min(size, disk.total // 2)


def _prepare_sqlite(engine: Engine) -> None:
    """One writer at a time, who waits at the door; readers beside it; what was synced survives a power cut.

    The log, which grows with the largest upload, is cut back to ``LOG_BYTES`` once it was carried over.
    """

    @event.listens_for(engine, "do_connect")
    def _connecting(_: Dialect, __: object, given: Sequence[Any], ___: object) -> None:
        # A new file is for its owner alone: uploads wait in it. SQLite gives its log and index the same mode.
        with suppress(OSError):  # which SQLite tells of, or opens all the same: it is there
            os.close(os.open(given[0], os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:  # noqa: ANN401  a class of the driver
        connection.isolation_level = None  # the driver's own idea of when a transaction begins
        waits = f"busy_timeout={BUSY_SECONDS}000"
        for pragma in ("journal_mode=WAL", f"journal_size_limit={LOG_BYTES}", "foreign_keys=ON", waits):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        options = connection.get_execution_options()
        driver: Any = connection.connection.driver_connection  # without SQLAlchemy's own time for each statement
        if options.get("writes", False):
            driver.execute(f"PRAGMA synchronous={'FULL' if options['synced'] else 'NORMAL'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # which may fail: it waits for others
        else:
            driver.execute("BEGIN")
