"""Jobs in both kinds of database: handed in once, taken by one, answered once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from sdk.serve.jobs import Answer, Job, Jobs, job_id
from sdk.serve.tables import jobs, records


@pytest.fixture
def make(database):
    def makes(owner: str = "one", lease_seconds: float = 60.0, max_attempts: int = 3) -> Jobs:
        return Jobs(database, owner=owner, lease_seconds=lease_seconds, max_attempts=max_attempts)

    return makes


def job(name: str = "a", created: float = 1.0) -> Job:
    return Job(job_id("alice", name), "alice", "default", "0" * 64, 4, created=created)


ANSWER = Answer("review", lambda previous: f"record after {previous}", {"frame": b"pixels"})


def test_an_upload_is_handed_in_once(make):
    store = make()
    assert [store.hand_in(job(), b"file").id for _ in range(3)] == [job().id] * 3
    assert [store.waiting(*kind)[0] for kind in ((), ("image",), ("video",))] == [1, 1, 0]
    assert store.take()[1] == b"file"
    assert store.take() is None


def test_the_job_that_waited_longest_is_taken_first(make):
    store = make()
    for name, created in (("late", 3.0), ("early", 1.0), ("middle", 2.0)):
        store.hand_in(job(name, created), name.encode())
    assert [store.take()[1] for _ in range(3)] == [b"early", b"middle", b"late"]


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
