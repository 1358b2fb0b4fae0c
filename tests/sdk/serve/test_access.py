"""Keys and quotas."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from sdk.errors import BadSetting, ServiceRefused, UnknownName
from sdk.serve import access
from sdk.serve.access import Keys, Quotas, Tenant
from sdk.serve.gate import Gate
from sdk.serve.tables import keys


def test_a_key_opens_until_it_is_revoked(database, monkeypatch):
    monkeypatch.setattr(access, "CACHE_SECONDS", 0.0)
    store = Keys(database)
    key = store.add("alice", role="submit", per_minute=7, webhook="https://example.org/hook")
    assert store.tenant(key) == Tenant("alice", "submit", 7, "https://example.org/hook")
    assert store.tenant(key + "x") is None
    store.revoke("alice")
    time.sleep(0.001)
    assert store.tenant(key) is None
    assert [(each.name, each.revoked is None) for each in store.all()] == [("alice", False)]
    with pytest.raises(UnknownName, match="no key named 'alice'"):
        store.revoke("alice")


def test_a_key_opens_while_strangers_try_others(database):
    class Emptied(dict):
        def __setitem__(self, *_: object) -> None:
            """Another thread empties it."""

    store = Keys(database)
    key, store._seen = store.add("alice", role="submit"), Emptied()
    assert store.tenant(key).name == "alice"


def test_no_key_is_stored(database):
    key = Keys(database).add("alice", role="review")
    with database.read() as connection:
        (row,) = connection.execute(select(keys)).all()
    assert key not in str(row)
    assert row.digest == access.digest(key)
    assert len(key) >= len(access.PREFIX) + 43  # 256 bits in base 64


def test_keys_that_make_no_sense_are_refused(database):
    store = Keys(database)
    store.add("alice", role="submit")
    senseless = [
        ("there is a key", "alice", {}),
        ("is no address", "b", {"webhook": "ftp://x"}),
        ("is no address", "b", {"webhook": "hook"}),
        ("is no address", "b", {"webhook": "http://[::1"}),
        ("is no address", "b", {"webhook": "http://x:65536/"}),
        ("is no address", "b", {"webhook": "http://x/a b"}),
        ("cannot be used", "", {}),
        ("cannot be used", "a" * 65, {}),
        ("per_minute is 0", "b", {"per_minute": 0}),
    ]
    for problem, name, options in senseless:
        with pytest.raises(BadSetting, match=problem):
            store.add(name, role="submit", **options)


def test_a_key_is_looked_up_once_in_a_few_seconds(database, monkeypatch):
    store = Keys(database)
    key = store.add("seen", role="submit")
    assert store.seen(key) is None
    tenant = store.tenant(key)
    assert store.seen(key) == tenant == Tenant("seen", "submit")
    assert store.tenant("imdl_none") is store.seen("imdl_none") is None
    later = time.monotonic() + access.CACHE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert store.seen(key) is None


def test_a_quota_fills_evenly():
    quotas, tenant = Quotas(60), Tenant("alice", "submit", per_minute=2)
    for _ in range(2):
        quotas.take(tenant, now=0.0)
    with pytest.raises(ServiceRefused, match="2 uploads a minute") as refused:
        quotas.take(tenant, now=10.0)
    assert (refused.value.status, refused.value.retry_after) == (429, pytest.approx(20.0))
    quotas.take(tenant, now=30.0)
    quotas.take(Tenant("bob", "submit"), now=30.0)


@given(gaps=st.lists(st.floats(0, 120), max_size=60), size=st.integers(1, 30))
def test_no_minute_lets_in_more_than_two_quotas(gaps, size):
    quotas, tenant, now, taken = Quotas(1), Tenant("a", "submit", per_minute=size), 0.0, []
    for gap in gaps:
        now += gap
        try:
            quotas.take(tenant, now=now)
        except ServiceRefused:
            continue
        taken.append(now)
    assert all(sum(start <= moment < start + 60 for moment in taken) <= 2 * size for start in taken)


def test_a_gate_gives_back_what_was_held():
    gate = Gate(max_inflight=2, max_bytes=100)
    with gate.entered("alice") as one, gate.entered("bob") as two:
        one.hold(60)
        two.hold(40)
        with pytest.raises(ServiceRefused, match="100 bytes are under way"):
            two.hold(1)
        with pytest.raises(ServiceRefused, match="2 uploads are under way"), gate.entered("carol"):
            pass
    assert (gate.inflight, gate.bytes) == (0, 0)


def test_one_key_leaves_room_for_the_others():
    gate = Gate(max_inflight=4, max_bytes=100, share=0.5)
    with contextlib.ExitStack() as entered:
        first, second = (entered.enter_context(gate.entered("greedy")) for _ in range(2))
        first.hold(30)
        second.hold(20)
        with pytest.raises(ServiceRefused, match="50 bytes are under way, which is its share"):
            second.hold(1)
        with pytest.raises(ServiceRefused, match="2 uploads of this key are under way"), gate.entered("greedy"):
            pass
        with gate.entered("other") as place:
            place.hold(50)
    assert (gate.inflight, gate.bytes, gate._uploads, gate._held) == (0, 0, {}, {})


def test_a_single_upload_of_a_key_may_be_larger_than_its_share():
    with Gate(max_inflight=1, max_bytes=100, share=0.1).entered("alice") as place:
        place.hold(100)
