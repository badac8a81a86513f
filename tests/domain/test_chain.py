from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from golive.domain.chain import COLUMNS, HASH_VERSION, ChainVerifier, Problem, hash_event
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, record_of
from tests.support.factories import make_go_live, make_system

Event = dict[str, Any]
Records = dict[str, dict[str, Any] | None]

# The columns of `golive_event` without `hash`, in the order of the table.
CONTRACT_COLUMNS = [
    *("sequence", "at", "actor", "user_id", "on_behalf_of", "channel", "subject", "action", "reason", "changed"),
    *("override", "before", "after", "failed_checks", "request_id", "remote_addr", "hash_version", "previous_hash"),
]

# One event and its canonical form, written out by hand from the rule in
# docs/explain/design.md (Data and hash chain); the digest by `sha256sum`.
GOLDEN: Event = {
    "sequence": 42,
    "at": "2026-01-02T03:04:05.000006Z",
    "actor": "bea",
    "user_id": 7,
    "on_behalf_of": None,
    "channel": "api",
    "subject": "go_live_state",
    "action": "release",
    "reason": 'Grün, "go"\n停止 🛑',
    "changed": True,
    "override": True,
    "before": {"kill_switch_engaged": True, "revision": 1},
    "after": {"revision": 2, "kill_switch_engaged": False},
    "failed_checks": [{"id": "backend_complete", "detail": "Mark it."}],
    "request_id": "abc",
    "remote_addr": "2001:db8::1",
    "hash_version": 1,
    "previous_hash": "00ff",
}
SALTED: Event = {**GOLDEN, "hash_version": 2, "salt": "0123456789abcdef0123456789abcdef"}
GOLDEN_TEXT = (
    '{"action":"release","actor":"bea","after":{"kill_switch_engaged":false,"revision":2},'
    '"at":"2026-01-02T03:04:05.000006Z","before":{"kill_switch_engaged":true,"revision":1},"changed":true,'
    '"channel":"api","failed_checks":[{"detail":"Mark it.","id":"backend_complete"}],"hash_version":1,'
    '"on_behalf_of":null,"override":true,"previous_hash":"00ff","reason":"Grün, \\"go\\"\\n停止 🛑",'
    '"remote_addr":"2001:db8::1","request_id":"abc","sequence":42,"subject":"go_live_state","user_id":7}'
)
GOLDEN_HASH = "f579cd9a307932c4d2cd8540aa6d688723f57a8b210f64be2eb2323cbf0e32f5"
SALTED_TEXT = GOLDEN_TEXT.replace('"hash_version":1', '"hash_version":2').replace(
    '"sequence":42', '"salt":"0123456789abcdef0123456789abcdef","sequence":42'
)


# -- a chain to work on ------------------------------------------------------------------------------------------------


def _event(sequence: int, subject: str, action: str, **values: Any) -> Event:
    return {
        "sequence": sequence,
        "at": f"2026-01-01T00:00:00.{sequence:06}Z",
        "actor": "bea",
        "user_id": 5,
        "on_behalf_of": None,
        "channel": "api",
        "subject": subject,
        "action": action,
        "reason": "why",
        "changed": True,
        "override": False,
        "before": None,
        "after": None,
        "failed_checks": None,
        "request_id": "r",
        "remote_addr": "192.0.2.1",
        "salt": None,
        "hash_version": 1,
        "previous_hash": None,
        **values,
    }


def _link(events: Sequence[Event]) -> list[Event]:
    """Give each event its place, its predecessor's hash and its own."""
    linked: list[Event] = []
    for event in events:
        new = {**event, "sequence": len(linked) + 1, "previous_hash": linked[-1]["hash"] if linked else None}
        linked.append({**new, "hash": hash_event(new)})
    return linked


def _row(subject: str, revision: int) -> dict[str, Any]:
    return {"revision": revision, "updated_at" if subject == SYSTEM_METADATA else "changed_by": f"r{revision}"}


def _make_chain(length: int = 8) -> list[Event]:
    """Seed, then changes of the two rows in turn; one of them is a deploy, one changes nothing."""
    events: list[Event] = []
    revisions = {SYSTEM_METADATA: 0, GO_LIVE_STATE: 0}
    for number in range(length):
        subject = (SYSTEM_METADATA, GO_LIVE_STATE)[number % 2]
        if number == 4:
            events.append(_event(0, "deploy", "deploy", changed=False))
            continue
        before = _row(subject, revisions[subject]) if number > 1 else None
        is_change = number != 5
        revisions[subject] += is_change
        after = _row(subject, revisions[subject])
        events.append(_event(0, subject, "change", before=before, after=after, changed=is_change))
    return _link(events)


def _records(events: Sequence[Event]) -> Records:
    return {
        subject: next((e["after"] for e in reversed(events) if e["subject"] == subject and e["after"]), None)
        for subject in (GO_LIVE_STATE, SYSTEM_METADATA)
    }


def _verify(
    events: Sequence[Mapping[str, Any]], *, head: str | None = "newest", records: Records | None = None
) -> list[Problem]:
    verifier = ChainVerifier()
    verifier.feed(events)
    newest: str | None = events[-1]["hash"] if events else None
    return verifier.finish(
        head=newest if head == "newest" else head,
        records=_records(_make_chain()) if records is None else records,
    )


def _keys(problems: Sequence[Problem]) -> set[str]:
    """`code:place`, without what may follow the place to tell one break from another at the same place."""
    return {problem.key.split("@")[0] for problem in problems}


# -- the hash ----------------------------------------------------------------------------------------------------------


def test_columns__all__are_those_of_the_contract() -> None:
    assert [name for name in COLUMNS if name != "salt"] == CONTRACT_COLUMNS
    assert "salt" in COLUMNS
    assert HASH_VERSION == 2


def test_hash_event__golden_event__is_the_digest_of_the_text_that_the_contract_describes() -> None:
    assert hashlib.sha256(GOLDEN_TEXT.encode()).hexdigest() == GOLDEN_HASH
    assert hash_event(GOLDEN) == GOLDEN_HASH


def test_hash_event__version_2__holds_the_salt_too() -> None:
    assert hash_event(SALTED) == hashlib.sha256(SALTED_TEXT.encode()).hexdigest()
    assert hash_event({**SALTED, "salt": "f" * 32}) != hash_event(SALTED)


def test_hash_event__version_1_with_a_salt__is_not_the_hash_without() -> None:
    # A column that an old event does not hash must not be a place to write into unseen.
    assert hash_event({**GOLDEN, "salt": None}) == GOLDEN_HASH
    assert hash_event({**GOLDEN, "salt": "f" * 32}) != GOLDEN_HASH


def test_hash_event__order_of_keys_and_the_hash_itself__do_not_matter() -> None:
    shuffled = {name: GOLDEN[name] for name in reversed(GOLDEN)} | {"hash": "anything", "more": 1}

    assert hash_event(shuffled) == GOLDEN_HASH


@pytest.mark.parametrize("column", CONTRACT_COLUMNS)
def test_hash_event__any_column_differs__differs(column: str) -> None:
    assert hash_event({**GOLDEN, column: "other"}) != GOLDEN_HASH
    assert hash_event({**GOLDEN, column: None}) != GOLDEN_HASH or GOLDEN[column] is None


@pytest.mark.parametrize("column", CONTRACT_COLUMNS)
def test_hash_event__a_column_is_missing__fails(column: str) -> None:
    with pytest.raises(KeyError, match=column):
        hash_event({name: value for name, value in GOLDEN.items() if name != column})


@pytest.mark.parametrize(("one", "other"), [(True, 1), (False, 0), (None, "null"), (1, "1"), ("", None), ([], None)])
def test_hash_event__values_that_look_alike__differ(one: Any, other: Any) -> None:
    assert hash_event({**GOLDEN, "after": one}) != hash_event({**GOLDEN, "after": other})


def test_hash_event__not_a_number__is_refused() -> None:
    # Others could not recompute it: it is not JSON.
    with pytest.raises(ValueError, match="JSON"):
        hash_event({**GOLDEN, "after": {"revision": float("nan")}})


# -- a sound chain -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_verifier__sound_chain_in_batches__finds_nothing(batch_size: int) -> None:
    chain = _make_chain(9)
    verifier = ChainVerifier()

    for start in range(0, len(chain), batch_size):
        verifier.feed(chain[start : start + batch_size])

    assert verifier.finish(head=chain[-1]["hash"], records=_records(chain)) == []
    assert verifier.count == 9


def test_verifier__served_as_json_and_read_back__finds_nothing() -> None:
    chain = json.loads(json.dumps(_make_chain()))

    assert _verify(chain) == []


def test_verifier__adopted_rows__finds_nothing() -> None:
    chain = _link([_event(0, s, "adopt", after=_row(s, 9), changed=False) for s in (SYSTEM_METADATA, GO_LIVE_STATE)])

    assert _verify(chain, records=_records(chain)) == []


# -- tampering ---------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("column", [*CONTRACT_COLUMNS, "hash"])
def test_verifier__one_column_of_one_event_altered__is_found(column: str, place: int) -> None:
    chain = _make_chain()
    other = {"sequence": 99, "changed": not chain[place]["changed"], "override": True}.get(column, "other")
    chain[place] = {**chain[place], column: other}

    problems = _verify(chain)

    assert f"hash:{chain[place]['sequence']}" in _keys(problems)


@given(
    place=st.integers(min_value=0, max_value=7),
    column=st.sampled_from([name for name in CONTRACT_COLUMNS if name not in ("sequence", "subject", "action")]),
    value=JSON,
    action=st.sampled_from(["change", "reconcile", "drift"]),
)
def test_verifier__any_column_altered_to_any_value__is_found(place: int, column: str, value: Any, action: str) -> None:
    plain = _make_chain()
    chain = _link([{**event, "action": action if number == place else "change"} for number, event in enumerate(plain)])
    altered = [{**event, column: value} if number == place else event for number, event in enumerate(chain)]
    assume(hash_event(altered[place]) != chain[place]["hash"])

    problems = _verify(altered, head=chain[-1]["hash"])

    assert f"hash:{place + 1}" in _keys(problems)


@pytest.mark.parametrize("place", range(7))
def test_verifier__an_event_altered_and_rehashed__is_found_by_the_one_after_it(place: int) -> None:
    chain = _make_chain()
    forged = {**chain[place], "actor": "mallory"}
    chain[place] = {**forged, "hash": hash_event(forged)}

    problems = _verify(chain)

    assert f"link:{place + 2}" in _keys(problems)


def test_verifier__the_newest_altered_and_rehashed__is_found_by_event_head() -> None:
    chain = _make_chain()
    head = chain[-1]["hash"]
    forged = {**chain[-1], "actor": "mallory"}
    chain[-1] = {**forged, "hash": hash_event(forged)}

    assert "head" in {problem.code for problem in _verify(chain, head=head)}


def test_verifier__the_whole_rewritten__is_found_by_who_kept_the_head() -> None:
    chain = _make_chain()
    rewritten = _link([{**event, "actor": "mallory"} for event in chain])

    assert _verify(rewritten) == []
    assert _keys(_verify(rewritten, head=chain[-1]["hash"])) == {f"head:{rewritten[-1]['hash']}"}


@pytest.mark.parametrize("first", range(8))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_verifier__events_deleted__is_found(first: int, count: int) -> None:
    chain = _make_chain()
    head = chain[-1]["hash"]
    del chain[first : first + count]

    problems = _verify(chain, head=head)

    assert {problem.code for problem in problems} & {"gap", "head"}


def test_verifier__the_oldest_events_deleted__is_a_gap() -> None:
    # Nothing but the number of the first event that is left tells it.
    chain = _make_chain()[3:]

    assert "gap:4" in _keys(_verify(chain))


def test_verifier__all_events_deleted__is_found() -> None:
    problems = _verify([], head="00", records=_records(_make_chain()))

    assert _keys(problems) == {"head:none", f"row:{GO_LIVE_STATE}", f"row:{SYSTEM_METADATA}"}


def test_verifier__two_events_swapped__is_found() -> None:
    chain = _make_chain()
    chain[2], chain[3] = chain[3], chain[2]

    assert {problem.code for problem in _verify(chain)} >= {"gap", "link"}


def test_verifier__an_event_inserted__is_found() -> None:
    chain = _make_chain()
    forged = _event(5, "deploy", "deploy", previous_hash=chain[3]["hash"])
    chain.insert(4, {**forged, "hash": hash_event(forged)})

    assert _keys(_verify(chain)) >= {"gap:5", "link:5"}


def test_verifier__two_events_follow_from_one__is_found() -> None:
    chain = _make_chain()
    twin = {**chain[-1], "sequence": 9}
    chain.append({**twin, "hash": hash_event(twin)})

    assert "link:9" in _keys(_verify(chain))


def test_verifier__the_first_event_names_a_predecessor__is_found() -> None:
    chain = _make_chain()
    first = {**chain[0], "previous_hash": "00"}

    assert "link:1" in _keys(_verify([{**first, "hash": hash_event(first)}, *chain[1:]]))


def test_verifier__an_event_starts_from_another_state_than_recorded__is_found() -> None:
    chain = _make_chain()
    chain[-1]["before"] = {"revision": 99}

    assert "before:8" in _keys(_verify(_link(chain)))


# -- head and rows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [None, "", "00", _make_chain()[-2]["hash"]])
def test_verifier__event_head_is_not_the_newest_hash__is_found(head: str | None) -> None:
    chain = _make_chain()

    assert _keys(_verify(chain, head=head)) == {f"head:{chain[-1]['hash']}"}


@pytest.mark.parametrize("subject", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_verifier__a_row_is_missing__is_found(subject: str) -> None:
    problems = _verify(_make_chain(), records={**_records(_make_chain()), subject: None})

    assert _keys(problems) == {f"row:{subject}"}
    assert "missing" in problems[0].detail


@pytest.mark.parametrize("subject", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_verifier__a_row_without_any_event__is_found(subject: str) -> None:
    chain = _link([event for event in _make_chain() if event["subject"] != subject])

    assert _keys(_verify(chain)) == {f"row:{subject}"}


@pytest.mark.parametrize("subject", [GO_LIVE_STATE, SYSTEM_METADATA])
def test_verifier__a_row_differs_from_its_newest_event__names_table_and_columns(subject: str) -> None:
    records = _records(_make_chain())
    changed = {**(records[subject] or {}), "revision": 77, "extra": 1}

    (problem,) = _verify(_make_chain(), records={**records, subject: changed})

    assert problem.key == f"row:{subject}"
    assert "extra, revision" in problem.detail


def test_verifier__a_row_lost_a_column__is_found() -> None:
    chain = _make_chain()
    records = _records(chain)
    shorter = {key: value for key, value in (records[GO_LIVE_STATE] or {}).items() if key != "revision"}

    assert _keys(_verify(chain, records={**records, GO_LIVE_STATE: shorter})) == {f"row:{GO_LIVE_STATE}"}


@pytest.mark.parametrize("after", [[], "x", 5, {}, [{"revision": 1}], {"revision": None}], ids=repr)
def test_verifier__an_event_whose_row_is_nonsense__is_found_and_does_not_crash(after: Any) -> None:
    chain = _make_chain()
    chain[-1] = {**chain[-1], "after": after}

    problems = _verify(chain)

    assert _keys(problems) >= {"hash:8", f"row:{GO_LIVE_STATE}"}


# -- drift and reconcile -----------------------------------------------------------------------------------------------


def _drifted(*later: Event) -> list[Event]:
    """A chain in which `go_live_state` was found altered, then changed properly, then what is given."""
    chain = _make_chain()
    before, drifted, after = chain[-1]["after"], {"revision": 50}, {"revision": 51}
    return _link(
        [
            *chain,
            _event(0, GO_LIVE_STATE, "drift", before=before, after=drifted),
            _event(0, GO_LIVE_STATE, "change", before=drifted, after=after),
            *later,
        ]
    )


def _reconcile(subject: str = GO_LIVE_STATE, *ids: str, revision: int = 51) -> Event:
    row = {"revision": revision}
    noted = [{"id": id, "detail": "seen"} for id in ids] or None
    return _event(0, subject, "reconcile", before=row, after=row, changed=False, failed_checks=noted)


def test_verifier__drift__is_a_problem_although_the_row_agrees_again() -> None:
    chain = _drifted()

    assert _keys(_verify(chain, records=_records(chain))) == {f"row:{GO_LIVE_STATE}"}


def test_verifier__drift_reconciled__is_no_problem() -> None:
    chain = _drifted(_reconcile())

    assert _verify(chain, records=_records(chain)) == []


def test_verifier__drift_of_one_row_and_reconcile_of_the_other__is_still_a_problem() -> None:
    system = _records(_make_chain())[SYSTEM_METADATA]
    chain = _drifted({**_reconcile(SYSTEM_METADATA), "before": system, "after": system})

    assert _keys(_verify(chain, records=_records(chain))) == {f"row:{GO_LIVE_STATE}"}


def test_verifier__drift_after_a_reconcile__is_a_problem_again() -> None:
    chain = _drifted(_reconcile(), _event(0, GO_LIVE_STATE, "drift", before={"revision": 51}, after={"revision": 60}))

    assert _keys(_verify(chain, records=_records(chain))) == {f"row:{GO_LIVE_STATE}"}


def _broken_then(*later: Event) -> list[Event]:
    """A chain whose event 3 was altered after the fact, followed by what is given."""
    chain = _link([*_make_chain(), *later])
    chain[2] = {**chain[2], "actor": "mallory"}
    return chain


def _reconcile_break(*ids: str) -> Event:
    row = _records(_make_chain())[GO_LIVE_STATE]
    return {**_reconcile(GO_LIVE_STATE, *ids), "before": row, "after": row}


def _name_the_break() -> list[str]:
    """What `reconcile` notes of the altered event."""
    return [problem.key for problem in _verify(_broken_then())]


def test_verifier__a_break_that_a_reconcile_names__is_acknowledged() -> None:
    assert _verify(_broken_then(_reconcile_break(*_name_the_break()))) == []


def test_verifier__a_break_that_a_reconcile_does_not_name__stays() -> None:
    assert _keys(_verify(_broken_then(_reconcile_break("hash:4", "row:3", "3")))) == {"hash:3"}


def test_verifier__other_breaks_than_the_named_one__stay() -> None:
    chain = _broken_then(_reconcile_break(*_name_the_break()))
    chain[5] = {**chain[5], "actor": "mallory"}

    assert _keys(_verify(chain)) == {"hash:6"}


def test_verifier__an_event_altered_to_acknowledge_itself__is_found() -> None:
    # One UPDATE must not be able to hide itself.
    chain = _make_chain()
    for _ in range(2):  # the second time with whatever name its own alteration has then
        noted = [{"id": key, "detail": ""} for key in {"hash:4", *(problem.key for problem in _verify(chain))}]
        chain[3] = {**chain[3], "action": "reconcile", "failed_checks": noted}

    assert "hash:4" in _keys(_verify(chain))


def test_verifier__an_event_altered_and_rehashed_to_acknowledge_the_break_after_it__is_found() -> None:
    chain, keys = _make_chain(), {"link:5"}
    for _ in range(2):  # the second time with the name that the break has after the first
        noted = [{"id": key, "detail": ""} for key in sorted(keys)]
        forged = {**chain[3], "action": "reconcile", "failed_checks": noted}
        chain[3] = {**forged, "hash": hash_event(forged)}
        keys |= {problem.key for problem in _verify(chain)}

    assert "link:5" in _keys(_verify(chain))


def test_verifier__an_event_altered_again_after_it_was_acknowledged__is_found() -> None:
    # What was acknowledged is one alteration, which people have looked at, and not a licence for the next.
    chain = _broken_then(_reconcile_break(*_name_the_break()))
    assert _verify(chain) == []

    chain[2] = {**chain[2], "actor": "eve"}

    assert _verify(chain) != []


def test_verifier__an_event_rehashed_again_after_its_break_was_acknowledged__is_found() -> None:
    def forge(chain: list[Event], actor: str) -> list[Event]:
        forged = {**chain[2], "actor": actor}
        return [*chain[:2], {**forged, "hash": hash_event(forged)}, *chain[3:]]

    keys = [problem.key for problem in _verify(forge(_make_chain(), "mallory"))]
    chain = forge(_link([*_make_chain(), _reconcile_break(*keys)]), "mallory")
    assert _verify(chain) == []

    assert _verify(forge(chain, "eve")) != []


def test_verifier__more_is_deleted_after_a_gap_was_acknowledged__is_found() -> None:
    # Neither event changes a row, so that nothing but the chain itself can tell.
    chain = _make_chain()
    named = [problem.key for problem in _verify([*chain[:5], *chain[6:]])]
    chain = _link([*chain, _reconcile_break(*named)])
    assert _verify([*chain[:5], *chain[6:]]) == []

    assert _verify([*chain[:4], *chain[6:]]) != []


@pytest.mark.parametrize("noted", [{"id": "x"}, ["x"], [1], "x", [{"detail": ""}], [None]], ids=repr)
def test_verifier__a_reconcile_with_nonsense_in_it__does_not_crash(noted: Any) -> None:
    chain = _drifted({**_reconcile(), "failed_checks": noted})

    assert _verify(chain, records=_records(chain)) == []


# -- the newest part only ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", range(1, 8))
def test_verifier__older_part_on_trust__finds_nothing_in_a_sound_chain(first: int) -> None:
    chain = _make_chain()
    verifier = ChainVerifier()

    verifier.assume(chain[:first])
    verifier.feed(chain[first:])

    assert verifier.finish(head=chain[-1]["hash"], records=_records(chain)) == []
    assert verifier.count == len(chain) - first


def test_verifier__older_part_on_trust__still_knows_its_drift() -> None:
    chain = _drifted()
    verifier = ChainVerifier()

    verifier.assume(chain[:9])
    verifier.feed(chain[9:])

    assert _keys(verifier.finish(head=chain[-1]["hash"], records=_records(chain))) == {f"row:{GO_LIVE_STATE}"}


def test_verifier__older_part_on_trust__still_compares_what_follows_with_it() -> None:
    chain = _make_chain()
    chain[7]["before"] = {"revision": 99}
    chain = _link(chain)
    verifier = ChainVerifier()

    verifier.assume(chain[:7])
    verifier.feed(chain[7:])

    assert _keys(verifier.finish(head=chain[-1]["hash"], records=_records(chain))) == {"before:8"}


def test_records__of_real_rows__agree_with_themselves() -> None:
    rows = {GO_LIVE_STATE: record_of(make_go_live()), SYSTEM_METADATA: record_of(make_system(backend_complete=True))}
    chain = _link([_event(0, subject, "adopt", after=record, changed=False) for subject, record in rows.items()])

    assert _verify(chain, records={subject: dict(record) for subject, record in rows.items()}) == []
