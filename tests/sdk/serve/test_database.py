"""The database: migrations lead to the tables that the code uses, on both kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import bindparam, func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from sdk.errors import BadSetting
from sdk.serve.database import LOG_BYTES, MIGRATIONS, Database, asked
from sdk.serve.documents import job_document
from sdk.serve.jobs import Jobs
from sdk.serve.service import only_server
from sdk.serve.tables import decisions, jobs, metadata, records, uploads


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_the_files_of_a_new_database_are_its_owners_alone(tmp_path):
    before = os.umask(0)
    try:
        database = Database(f"sqlite:///{tmp_path / 'imdl.db'}")
        with only_server(tmp_path / "imdl.db"):
            database.migrate()
            with database.read() as connection:
                connection.execute(text("SELECT * FROM jobs"))
                modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("imdl.db", "imdl.db-wal", "imdl.db-shm", "imdl.db.lock"), 0o600)


def test_the_migrations_lead_to_the_tables(database):
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_servers_that_start_at_once_migrate_once(database):
    with database.write() as connection:
        metadata.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
    with ThreadPoolExecutor(3) as threads:
        started = [threads.submit(database.migrate) for _ in range(3)]
    assert [each.result() for each in started] == [None] * 3
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_jobs_and_records_of_the_first_tables_outlive_the_upgrade(database):
    """A record of the schema before says nothing of a video."""
    config, old = Config(), {"tenant": "alice", "content": "default", "input_sha256": "0" * 64, "input_bytes": 4}
    config.set_main_option("script_location", str(MIGRATIONS))
    text = '{"decision":{"reasons":["why"]},"error":null,"results":[],"schema":"imdl.evidence/2"}'
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert compare_metadata(MigrationContext.configure(connection), metadata) != []
        for name, state in (("a", "done"), ("b", "queued")):
            values = {**old, "id": name * 32, "state": state, "attempts": 0, "created": 1.0}
            connection.execute(insert(jobs).values(**values))
        connection.execute(insert(records).values(job_id="a" * 32, text=text, digest="1" * 64))
        connection.execute(insert(uploads).values(job_id="b" * 32, data=b"file"))
    database.migrate()
    store = Jobs(database, owner="one", lease_seconds=60.0, max_attempts=3)
    document = job_document(*store.get("a" * 32))
    assert (document.state, document.reasons, document.video) == ("done", ["why"], None)
    assert store.take("video") is None
    taken, data = store.take("image")
    assert (taken.id, data) == ("b" * 32, b"file")


LARGE = 24 * 2**20
# In a process of its own: what others allocated before decides whether the memory of a freed block is given back.
HAND_IN_A_LARGE_UPLOAD = f"""
import os, sys
from pathlib import Path
from sdk.serve.database import Database
from sdk.serve.jobs import Job, Jobs

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

database = Database(f"sqlite:///{{sys.argv[1]}}")
database.migrate()
store = Jobs(database, owner="one", lease_seconds=60.0, max_attempts=3)
before = resident()
store.hand_in(Job("a" * 32, "alice", "default", "0" * 64, {LARGE}), b"x" * {LARGE})
print(resident() - before)
store.hand_in(Job("b" * 32, "alice", "default", "0" * 64, 1), b"x")
print(Path(sys.argv[1] + "-wal").stat().st_size)
database.close()
"""


def test_of_a_large_upload_no_copy_is_left_in_memory_or_log(tmp_path):
    file = tmp_path / "imdl.db"
    program = [sys.executable, "-c", HAND_IN_A_LARGE_UPLOAD, str(file)]
    said = subprocess.run(program, capture_output=True, text=True, check=True)
    kept, log = map(int, said.stdout.split())
    assert kept < LARGE / 2
    assert log <= LOG_BYTES
    database = Database(f"sqlite:///{file}")
    with database.read() as connection:
        assert connection.execute(select(func.count(), func.sum(func.length(uploads.c.data)))).one() == (2, LARGE + 1)
    database.close()


@pytest.mark.parametrize(("free", "has_room"), [(499, False), (500, True)])
def test_a_disk_that_is_small_has_room_again_when_half_of_it_is_free(tmp_path, monkeypatch, free, has_room):
    database = Database(f"sqlite:///{tmp_path}/imdl.db")
    database.migrate()
    database.full = "database or disk is full"
    monkeypatch.setattr("sdk.serve.database.shutil.disk_usage", lambda _: SimpleNamespace(total=1000, free=free))
    assert database.has_room(4000) is has_room
    database.close()


def test_a_decision_needs_its_job(database):
    from sqlalchemy.exc import IntegrityError

    row = {"job_id": "none", "reviewer": "carol", "decision": "confirm", "note": "", "created": 1.0}
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(insert(decisions).values(**row))


def test_errors_hold_nothing_of_what_was_to_be_stored(database):
    from sqlalchemy.exc import DBAPIError

    row = {"job_id": "none", "reviewer": "carol", "decision": "confirm", "note": "", "created": 1.0}
    with pytest.raises(DBAPIError, match="INSERT") as failed, database.write() as connection:
        connection.execute(insert(decisions).values(**row))
    assert "carol" not in str(failed.value)


@pytest.mark.parametrize("url", ["mysql://me:pa55@x/y", "postgresql://me:pa55/y", "none:pa55"])
def test_the_password_of_a_database_is_not_told(url):
    with pytest.raises(BadSetting, match="database") as refused:
        Database(url)
    assert "pa55" not in str(refused.value)


def test_what_is_not_committed_is_not_there(database):
    row = {"id": "a", "tenant": "t", "content": "c", "input_sha256": "s", "input_bytes": 1, "state": "queued"}
    with pytest.raises(BadSetting, match="on the way"), database.write() as connection:
        connection.execute(insert(jobs).values(**row, attempts=0, created=1.0))
        raise BadSetting("broken on the way", remedy="none")
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(jobs)).scalar_one() == 0


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "nonsense", "sqlite+aiosqlite://",
                                 "", "foo.db", "sqlite:///file:a?mode=memory&uri=true"])  # fmt: skip
def test_what_cannot_hold_jobs_is_refused(url):
    with pytest.raises(BadSetting, match="database"):
        Database(url)


def test_tables_of_a_later_version_are_told_with_a_remedy(database):
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadSetting, match=r"(?s)tables of a later version.*9999.*restore the copy"):
        database.migrate()


def test_only_what_is_synced_waits_for_the_disk(database):
    """PostgreSQL's synchronous_commit, SQLite's synchronous: 2 is FULL, 1 NORMAL."""
    asked = "PRAGMA synchronous" if database.is_sqlite else "SHOW synchronous_commit"
    for synced, expected in ((True, (2, "on")), (False, (1, "off")), (True, (2, "on"))):
        with database.write(synced=synced) as connection:
            assert connection.execute(text(asked)).scalar_one() in expected


def test_what_the_driver_is_asked_is_as_sqlalchemy_says_it(database):
    """Rows, None where there is none, and errors of SQLAlchemy's classes, which are answered by 503."""
    record = insert(records).inline()
    one = select(records.c.number, records.c.text).where(records.c.digest == bindparam("digest")).limit(1)
    values = {"job_id": "a" * 32, "text": "it's 100 %", "digest": "1" * 64}
    old = {"tenant": "alice", "content": "default", "input_sha256": "0" * 64, "input_bytes": 4, "attempts": 0}
    with database.write() as connection:
        connection.execute(insert(jobs).values(**old, id="a" * 32, state="done", created=1.0))
        assert asked(connection.connection, connection.dialect, record, values) is None  # it gives no rows
    assert tuple(database.first(one, {"digest": "1" * 64})) == (1, "it's 100 %")
    assert database.first(one, {"digest": "2" * 64}) is None
    with pytest.raises(IntegrityError, match="records"), database.write() as connection:
        asked(connection.connection, connection.dialect, record, values)
    with pytest.raises(DBAPIError, match="nowhere"):
        database.first(select(text("1")).select_from(text("nowhere")), {})
