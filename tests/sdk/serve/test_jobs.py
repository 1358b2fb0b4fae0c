"""Jobs in both kinds of database: handed in once, taken by one, answered once."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import insert, select, text, update

from sdk.errors import ServiceRefused
from sdk.serve.access import Keys
from sdk.serve.desk import Desk
from sdk.serve.jobs import Answer, Job, Jobs, _in_turn, _tell, job_id
from sdk.serve.metrics import Metrics
from sdk.serve.settings import Settings
from sdk.serve.tables import deliveries, jobs, records, uploads


@pytest.fixture
def make(database):
    def makes(owner: str = "one", lease_seconds: float = 60.0, max_attempts: int = 3) -> Jobs:
        return Jobs(database, owner=owner, lease_seconds=lease_seconds, max_attempts=max_attempts)

    return makes


def job(name: str = "a", created: float = 1.0, tenant: str = "alice") -> Job:
    return Job(job_id(tenant, name), tenant, "default", "0" * 64, 4, created=created)


INDEXES = ("jobs_by_turn", "jobs_begun")
ANSWER = Answer("review", lambda previous: f"record after {previous}", {"frame": b"pixels"})


def test_an_upload_is_handed_in_once(make):
    store = make()
    assert [store.hand_in(job(), b"file").id for _ in range(3)] == [job().id] * 3
    assert [store.waiting(kind)[0] for kind in ("image", "video")] == [1, 0]
    assert [store.lengths(job(tenant=tenant)) for tenant in ("alice", "bob")] == [(1, 1), (1, 0)]
    assert store.take()[1] == b"file"
    assert store.take() is None


@pytest.mark.parametrize("tenants", [("alice",), ("alice", "bob", "carol", "dave")])
def test_a_burst_finds_no_more_room_than_there_is(make, monkeypatch, tenants):
    """All of them have looked before any is queued."""
    store, looked = make(), threading.Barrier(16)
    settings = Settings(max_queue=6, max_share=0.5)
    desk = Desk(settings, None, store, metrics=Metrics())
    lengths = store.lengths
    monkeypatch.setattr(store, "lengths", lambda job: (lengths(job), looked.wait(30))[0])

    def hand_in(number: int) -> str:
        try:
            desk.hand_in(job(str(number), number, tenants[number % len(tenants)]), b"file")
        except ServiceRefused as refused:
            return refused.bound
        return "queued"

    with ThreadPoolExecutor(16) as threads:
        ends = Counter(threads.map(hand_in, range(16)))
    most = 3 if len(tenants) == 1 else 6
    assert (ends["queued"], store.waiting("image")[0]) == (most, most)
    assert all(lengths(job(tenant=tenant))[1] <= 3 for tenant in tenants)


def test_the_job_that_waited_longest_is_taken_first(make):
    store = make()
    for name, created in (("late", 3.0), ("early", 1.0), ("middle", 2.0)):
        store.hand_in(job(name, created), name.encode())
    assert [store.take()[1] for _ in range(3)] == [b"early", b"middle", b"late"]


def test_tenants_take_turns(make):
    """A tenant that comes late, or comes again, waits for one job of each other, however many these have."""
    store = make()

    def hand_in(tenant: str, *numbers: int) -> None:
        for number in numbers:
            store.hand_in(job(str(number), number, tenant), f"{tenant} {number}".encode())

    def taken(count: int) -> list[str]:
        return [store.take()[1].decode() for _ in range(count)]

    hand_in("alice", 1, 2, 3, 4, 5)
    hand_in("bob", 6, 7, 8)
    assert taken(3) == ["alice 1", "bob 6", "alice 2"]
    hand_in("carol", 9, 10)
    assert taken(4) == ["carol 9", "bob 7", "alice 3", "carol 10"]
    assert taken(3) == ["bob 8", "alice 4", "alice 5"]
    hand_in("alice", 11)
    hand_in("carol", 12)
    assert taken(2) == ["carol 12", "alice 11"]
    assert store.take() is None


def test_the_turn_of_one_kind_is_none_of_the_other(make):
    store = make()
    for number, (tenant, kind) in enumerate([("alice", "video"), ("alice", "image"), ("bob", "image")]):
        store.hand_in(dataclasses.replace(job(str(number), number, tenant), kind=kind), b"file")
    assert [store.take(kind)[0].tenant for kind in ("video", "image", "image")] == ["alice", "alice", "bob"]


def test_whose_turn_it_is_is_looked_up_in_an_index(make, database):
    """With ten thousand jobs of one tenant as with one."""
    old = {"content": "default", "input_sha256": "0" * 64, "input_bytes": 4, "state": "queued", "attempts": 0}
    rows = [{**old, "id": str(number), "tenant": "alice", "created": number} for number in range(10_000)]
    with database.write() as connection:
        connection.execute(insert(jobs), [*rows, {**old, "id": "late", "tenant": "bob", "created": 1e5}])
        connection.execute(insert(uploads), [{"job_id": name, "data": name.encode()} for name in ("0", "1", "late")])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
        asked = str(_in_turn("image").compile(database.engine, compile_kwargs={"literal_binds": True}))
        how = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plan = [str(row[-1]) for row in connection.execute(text(f"{how} {asked}"))]
    read = [line for line in plan if " jobs" in line]
    assert all(" USING COVERING INDEX " in line or "Index Only Scan" in line for line in read), plan
    assert {name for name in INDEXES for line in read if name in line} == set(INDEXES), plan
    assert [make().take()[1] for _ in range(3)] == [b"0", b"late", b"1"]


def test_each_job_is_taken_by_one_server(make):
    stores = [make(f"server {number}") for number in range(4)]
    for number in range(24):
        stores[0].hand_in(job(str(number), number), b"file")
    with ThreadPoolExecutor(4) as threads:
        taken = [each.result() for each in [threads.submit(stores[n % 4].take) for n in range(30)]]
    names = [found[0].id for found in taken if found]
    assert (len(names), len(set(names))) == (24, 24)


def test_an_answer_is_written_once_and_ends_the_job(make):
    store = make()
    store.hand_in(job(), b"file")
    taken, _ = store.take()
    assert store.answer(taken, ANSWER)
    assert not store.answer(taken, Answer("block", lambda _: "other", {}))
    done, text = store.get(job().id)
    assert (done.state, done.action, text) == ("done", "review", "record after None")
    assert store.picture(job().id, "frame") == b"pixels"
    assert store.hand_in(job(), b"file").state == "done"
    assert store.take() is None


def test_an_answer_can_come_before_the_job_was_handed_in(make):
    store = make()
    assert store.answer(job(), ANSWER)
    assert store.hand_in(job(), b"file").action == "review"


def test_of_two_servers_that_answer_at_once_one_counts(make, database):
    stores = [make(f"server {number}") for number in range(4)]
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(store.answer, job(str(n % 6)), ANSWER)
                   for n, store in enumerate(stores * 6)]  # fmt: skip
        assert sum(each.result() is not None for each in answers) == 6
    with database.read() as connection:
        rows = connection.execute(select(records.c.text, records.c.digest).order_by(records.c.number)).all()
    assert [row.text for row in rows] == [f"record after {last}" for last in (None, *(row.digest for row in rows[:-1]))]


@pytest.fixture
def told(database):
    """States of the deliveries; alice has a webhook."""
    Keys(database).add("alice", role="submit", webhook="http://127.0.0.1:9/")

    def states() -> list[str]:
        with database.read() as connection:
            return list(connection.execute(select(deliveries.c.state)).scalars())

    return states


def test_of_two_late_answers_one_counts_and_is_told(make, told):
    """One upload is waited for in vain at two servers: both keep it, both answer it."""
    stores = [make("one"), make("other")]
    with ThreadPoolExecutor(2) as threads:
        kept = list(threads.map(lambda store: store.begin(job(), b"file"), stores))
        list(threads.map(lambda store: store.tell(job()), stores))
        assert (sorted(kept), told()) == ([False, True], [])
        answers = list(threads.map(lambda store: store.answer(job(), ANSWER), stores))
    assert sorted(answer is None for answer in answers) == [False, True]
    assert told() == ["pending"]


def test_a_late_answer_that_is_told_already_is_not_told_again(make, database, told):
    """Two servers turn it away at once, and the webhook of the first is delivered before the other is done."""
    store = make()
    store.answer(job(), ANSWER)
    with ThreadPoolExecutor(1) as threads:
        with database.write() as connection:
            _tell(connection, job().id, 1.0)
            other = threads.submit(store.tell, job())
            time.sleep(0.1)  # for it to come as far as it can
            connection.execute(update(deliveries).values(state="delivered"))
        other.result(20)
    assert told() == ["delivered"]


def test_an_upload_whose_job_had_failed_is_begun_anew_and_told_again(make, database, told):
    store = make(max_attempts=1)
    store.hand_in(job(), b"file")
    store.fail(store.take()[0], "no memory")
    with database.write() as connection:
        connection.execute(update(deliveries).values(state="delivered"))
    assert store.begin(job(), b"file")
    assert store.get(job().id)[0].state == "running"
    assert store.answer(job(), ANSWER) is not None
    assert told() == ["pending"]


def expire(database) -> None:
    """Let every lease run out."""
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.state == "running").values(lease_until=time.time() - 1))


def test_a_job_whose_server_went_away_is_taken_by_another(make, database):
    gone, other = make("gone"), make("other")
    gone.hand_in(job(), b"file")
    gone.take()
    assert other.take() is None
    expire(database)
    assert other.take()[0].attempts == 2
    assert gone.take() is None


def test_a_server_that_lives_keeps_its_jobs(make, database):
    living, other = make("living"), make("other")
    living.hand_in(job(), b"file")
    living.take()
    expire(database)
    other.keep_leases({job().id})  # those of others stay as they are
    living.keep_leases({job().id})
    assert other.take() is None


def test_a_job_that_could_not_be_given_back_is_taken_in_the_end(make, database):
    store = make()
    store.hand_in(job(), b"file")
    store.take()
    expire(database)
    store.keep_leases(set())
    assert store.take()[0].attempts == 2


def test_a_server_that_lost_a_job_cannot_fail_it(make, database):
    slow, other = make("slow"), make("other")
    slow.hand_in(job(), b"file")
    lost, _ = slow.take()
    expire(database)
    taken, _ = other.take()
    slow.fail(lost, "no memory")
    other.give_back(taken)
    assert other.take()[1] == b"file"


def test_a_job_that_ends_no_server_well_is_given_up(make, database):
    store = make(max_attempts=2)
    store.hand_in(job(), b"file")
    for _ in range(2):
        assert store.take() is not None
        expire(database)
    assert store.take() is None
    failed, text = store.get(job().id)
    assert (failed.state, text) == ("failed", None)
    assert "begun 2 times" in failed.problem
    again = store.hand_in(job(), b"file")
    assert (again.state, again.finished) == ("queued", None)
    assert store.take()[1] == b"file"


def test_a_job_that_is_given_back_is_taken_at_once(make):
    store = make()
    store.hand_in(job(), b"file")
    taken, _ = store.take()
    store.give_back(taken)
    assert store.take()[0].id == taken.id
    assert store.take_over() == 1
    assert store.take()[0].attempts == 3


def test_pictures_are_deleted_when_they_are_old(make, database):
    store = make()
    store.answer(job("old"), ANSWER)
    store.answer(job("new"), ANSWER)
    with database.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job("old").id).values(finished=1.0))
    assert store.purge(before=time.time() - 3600) == 1
    assert store.picture(job("old").id, "frame") is None
    assert store.picture(job("new").id, "frame") == b"pixels"
    assert store.get(job("old").id)[1] is not None


def test_jobs_of_two_tenants_have_two_names():
    assert job_id("alice", "key") != job_id("bob", "key")
    assert job_id("a", "bkey") != job_id("ab", "key")
