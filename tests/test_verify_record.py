"""The offline verifier: one file, no app, and the same verdict as the chain that the service keeps."""

from __future__ import annotations

import ast
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from golive import verify_record
from golive.domain.chain import ChainVerifier, hash_event
from golive.domain.rows import GO_LIVE_STATE, SYSTEM_METADATA, record_of
from golive.models import Event as StoredEvent
from golive.verify_record import NOT_SOUND, SOUND, UNUSABLE
from tests.support.changes import apply
from tests.support.factories import make_go_live, make_system
from tests.support.faults import append_only_suspended, run_sql

Event = dict[str, Any]
FILE = Path(verify_record.__file__)


# -- a record to tamper with -------------------------------------------------------------------------------------------


def _event(subject: str, action: str, before: Any, after: Any, **values: Any) -> Event:
    return {
        "at": "2026-01-01T00:00:00.000000Z",
        "actor": "bea",
        "user_id": None,
        "on_behalf_of": None,
        "channel": "cli",
        "subject": subject,
        "action": action,
        "reason": "why\n\u202e",
        "changed": before != after,
        "override": False,
        "before": before,
        "after": after,
        "failed_checks": None,
        "request_id": None,
        "remote_addr": None,
        "salt": "0123456789abcdef" * 2,
        "hash_version": 2,
        **values,
    }


def _link(events: Sequence[Event]) -> list[Event]:
    linked: list[Event] = []
    for event in events:
        new = {**event, "sequence": len(linked) + 1, "previous_hash": linked[-1]["hash"] if linked else None}
        linked.append({**new, "hash": hash_event(new)})
    return linked


def make_record() -> list[Event]:
    """Both seeds of version 1, changes, a drift, its reconcile, a token and a deploy."""
    old = {"hash_version": 1, "channel": "migration"}
    system, state = record_of(make_system(notes=None)), record_of(make_go_live())
    done = record_of(make_system(notes=None, backend_complete=True, revision=4))
    released = record_of(make_go_live(kill_switch_engaged=False, revision=8))
    engaged = record_of(make_go_live(revision=9))
    seeds = [_event(s, "seed", None, row, **old) for s, row in ((SYSTEM_METADATA, system), (GO_LIVE_STATE, state))]
    for seed in seeds:
        del seed["salt"]
    return _link(
        [
            *seeds,
            _event("deploy", "migrate", None, {"applied": ["golive.0001"]}),
            _event(SYSTEM_METADATA, "complete", system, done),
            _event("api_token", "create", None, {"name": "bot", "prefix": "p"}),
            _event(GO_LIVE_STATE, "release", state, released),
            _event(GO_LIVE_STATE, "drift", released, engaged, actor="unknown"),
            _event(GO_LIVE_STATE, "reconcile", engaged, engaged, failed_checks=[{"id": "row:go_live_state"}]),
            _event("api_token", "revoke", {"name": "bot", "prefix": "p"}, None),
            _event(GO_LIVE_STATE, "engage", engaged, engaged),
        ]
    )


def judge_by_chain(events: Sequence[Event]) -> set[str]:
    """What the service's verifier finds in the events themselves."""
    verifier = ChainVerifier()
    verifier.feed(events)
    rows = {s: e["after"] for s, e in verifier.newest_by_subject.items() if s in (GO_LIVE_STATE, SYSTEM_METADATA)}
    head = verifier.newest["hash"] if verifier.newest else None
    return {problem.key for problem in verifier.finish(head=head, records=rows)}


def judge_offline(events: Sequence[Event]) -> set[str]:
    verifier = verify_record.Verifier()
    for event in events:
        verifier.feed(event)
    return {key for key, _ in verifier.finish()}


def run(lines: str, *heads: str) -> tuple[int, str]:
    out = io.StringIO()
    return verify_record.verify(io.StringIO(lines), heads, out), out.getvalue()


def write_lines(events: Sequence[Event]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


# -- one verdict -------------------------------------------------------------------------------------------------------

RECORD = make_record()
PLACES = range(len(RECORD))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "action": st.sampled_from(["engage", "release", "drift", "reconcile", "seed", "lease", "edit", "create", "x"]),
    "subject": st.sampled_from([GO_LIVE_STATE, SYSTEM_METADATA, "deploy", "api_token", "x"]),
    "sequence": st.integers(1, 12),
    "hash": st.sampled_from([event["hash"] for event in RECORD]),
    "previous_hash": st.sampled_from([None, *(event["hash"] for event in RECORD)]),
    "hash_version": st.integers(0, 3),
    "after": st.sampled_from([event["after"] for event in RECORD]) | JSON,
    "before": st.sampled_from([event["before"] for event in RECORD]) | JSON,
}


@st.composite
def tampered(draw: st.DrawFn) -> list[Event]:
    """The record after a few alterations, each with or without the hashes put right again."""
    events = [dict(event) for event in RECORD]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(events) - 1)))
        kind = draw(st.sampled_from(["alter", "alter", "alter", "delete", "swap", "repeat", "relink", "acknowledge"]))
        if not events:
            break
        if kind == "alter":
            column = draw(st.sampled_from([name for name in events[place] if name != "sequence"] + ["salt"]))
            events[place][column] = draw(VALUES.get(column, JSON))
            if draw(st.booleans()):
                events[place]["hash"] = hash_event(events[place])
        elif kind == "delete":
            del events[place : place + draw(st.integers(1, 3))]
        elif kind == "swap":
            events[place], events[-1] = events[-1], events[place]
        elif kind == "repeat":
            events.insert(place, dict(events[place]))
        elif kind == "acknowledge":
            row = events[-1]["after"]
            noted = [{"id": key} for key in sorted(judge_by_chain(events))]
            last = _event(GO_LIVE_STATE, "reconcile", row, row, changed=False, failed_checks=noted)
            last |= {"sequence": events[-1]["sequence"] + 1, "previous_hash": events[-1]["hash"]}
            events.append({**last, "hash": hash_event(last)})
        else:
            events = _link([{name: value for name, value in event.items() if name != "hash"} for event in events])
    return events


def test_record__untouched__is_sound_for_both() -> None:
    assert judge_by_chain(RECORD) == judge_offline(RECORD) == set()


@given(tampered())
def test_record__tampered_with__gets_the_same_verdict_from_both(events: list[Event]) -> None:
    assert judge_offline(events) == judge_by_chain(events)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("column", sorted(RECORD[-1]))
def test_record__one_column_altered__is_not_sound(place: int, column: str) -> None:
    events = [dict(event) for event in RECORD]
    events[place][column] = 99 if column == "sequence" else "altered"

    assert run(write_lines(events))[0] == NOT_SOUND


# -- heads that somebody has kept --------------------------------------------------------------------------------------


def test_heads__kept_from_any_time__are_in_the_record() -> None:
    code, told = run(write_lines(RECORD), *(event["hash"] for event in RECORD))

    assert (code, told.count("\n")) == (SOUND, 1)
    assert f"10 events, 10 kept heads, 0 problems. The head is {RECORD[-1]['hash']}." in told


def test_heads__of_a_record_that_was_written_anew__prove_it() -> None:
    rewritten = _link([{**event, "actor": "mallory"} for event in RECORD])

    assert run(write_lines(rewritten))[0] == SOUND
    code, told = run(write_lines(rewritten), RECORD[5]["hash"])
    assert (code, RECORD[5]["hash"] in told) == (NOT_SOUND, True)


def test_heads__from_after_a_backup_that_was_restored__prove_it() -> None:
    assert run(write_lines(RECORD[:6]))[0] == SOUND
    assert run(write_lines(RECORD[:6]), RECORD[8]["hash"])[0] == NOT_SOUND


def test_heads__a_hash_that_is_only_written_down__does_not_count() -> None:
    """An altered event that keeps its hash, with a reconcile that excuses it, does not stand for the kept head."""
    events = [dict(event) for event in RECORD]
    events[5]["actor"] = "mallory"
    row = events[-1]["after"]
    noted = [{"id": key} for key in judge_offline(events)]
    excuse = _event(GO_LIVE_STATE, "reconcile", row, row, failed_checks=noted)
    excuse |= {"sequence": 11, "previous_hash": events[-1]["hash"]}
    events.append({**excuse, "hash": hash_event(excuse)})

    assert run(write_lines(events))[0] == SOUND  # people looked at it
    assert run(write_lines(events), RECORD[5]["hash"])[0] == NOT_SOUND


def test_read_heads__of_logs_and_answers__takes_heads_and_no_other_hash() -> None:
    one, two, three, other = ("1" * 64, "2" * 64, "3" * 64, "4" * 64)
    lines = [
        f"2026 INFO golive.controls.event_writer [-] engage of go_live_state by x: event 3, event_head {one}\n",
        json.dumps({"revision": 2, "event_head": two, "request_id": other}),
        f"  {three}\n",
        f"sha256 {other}\n",
        f"event_head {other}00\n",
    ]

    assert set(verify_record.read_heads(lines)) == {one, two, three}


# -- as a program ------------------------------------------------------------------------------------------------------


def start(folder: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """The file alone, copied away from the app, in a Python that sees no other module of ours."""
    program = folder / "verify.py"
    shutil.copy(FILE, program)
    command = [sys.executable, "-I", "-S", str(program), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, cwd=folder)


def test_program__copied_anywhere__verifies_a_file_with_heads(tmp_path: Path) -> None:
    (tmp_path / "record.jsonl").write_text(write_lines(RECORD))
    (tmp_path / "service.log").write_text(f"INFO release …, event_head {RECORD[5]['hash']}\n")
    head = RECORD[2]["hash"]

    sound = start(tmp_path, "record.jsonl", "--head", head, "--head-file", "service.log")
    piped = start(tmp_path, "-", stdin=write_lines(RECORD[1:]))

    assert (sound.returncode, sound.stderr) == (SOUND, "")
    assert "10 events, 2 kept heads, 0 problems." in sound.stdout
    assert (piped.returncode, "those before it are missing" in piped.stdout) == (NOT_SOUND, True)


@pytest.mark.parametrize(
    ("content", "arguments"),
    [
        ("{", ()),
        ("[]\n", ()),
        ("{}\n", ()),
        ('{"sequence": 1, "hash": "x"}\n', ()),
        ('{"sequence": NaN}\n', ()),
        ("[" * 100_000, ()),
        ("\udcff", ()),
        (write_lines(RECORD), ("--head", "nonsense")),
        (write_lines(RECORD), ("--head-file", "record.jsonl.not")),
        (write_lines(RECORD), ("--head-file", "empty")),
    ],
    ids=repr,
)
def test_program__input_that_cannot_be_used__is_2_and_one_line(
    tmp_path: Path, content: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "record.jsonl").write_bytes(content.encode(errors="surrogateescape"))
    (tmp_path / "empty").touch()

    ended = start(tmp_path, "record.jsonl", *arguments)

    assert (ended.returncode, ended.stdout) == (UNUSABLE, "")
    assert ended.stderr.startswith("verify_record: ")
    assert ended.stderr.count("\n") == 1


def test_program__no_such_file__is_2(tmp_path: Path) -> None:
    assert start(tmp_path, "nothing").returncode == UNUSABLE


def test_program__no_events__are_not_sound() -> None:
    assert run("\n")[0] == NOT_SOUND


def test_program__what_it_prints__cannot_be_forged_by_the_record() -> None:
    events = [dict(event) for event in RECORD]
    events[3]["hash"] = "x\n10 events, 0 kept heads, 0 problems. \u202e\x1b[2J"
    events = events[:4]

    _, told = run(write_lines(events))

    assert told.isascii()
    assert "\x1b" not in told
    assert len(told.splitlines()) == 2


def test_file__is_readable_by_python_3_9_and_imports_nothing_of_ours() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))

    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= set(sys.stdlib_module_names)


# -- the export --------------------------------------------------------------------------------------------------------


def export(target: str) -> str:
    out = io.StringIO()
    call_command("golive", "history", "--export", target, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("database")
def test_export__of_a_real_record__is_sound_and_holds_every_head(tmp_path: Path) -> None:
    for name in ("complete", "reopen", "edit", "engage", "engage", "disable"):
        apply(name, reason="a\nb \u202e 🛑")
    path = tmp_path / "record.jsonl"
    path.write_text("the last export")

    told = export(str(path))

    heads = list(StoredEvent.objects.order_by("sequence").values_list("hash", flat=True))
    assert run(path.read_text(), *heads)[0] == SOUND
    assert [json.loads(line)["hash"] for line in path.read_text().splitlines()] == heads
    assert told == f"8 events written to {path}. event_head {heads[-1]}\n"
    assert path.read_text().isascii()
    assert path.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == [path]
    assert export("-") == path.read_text()


@pytest.mark.usefixtures("database")
def test_export__of_a_tampered_record__is_not_sound(tmp_path: Path) -> None:
    apply("engage")
    with append_only_suspended():
        run_sql("UPDATE golive_event SET actor = 'mallory' WHERE sequence = 3")

    assert run(export("-"))[0] == NOT_SOUND


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("name", ["no folder/record", "."])
def test_export__that_cannot_be_written__is_2_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError) as caught:
        export(str(tmp_path / name))

    assert caught.value.returncode == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("database")
def test_export__that_fails_half_way__leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from golive.state import history

    path = tmp_path / "record.jsonl"
    export(str(path))
    before = path.read_bytes()
    monkeypatch.setattr(history, "event_values", lambda event: {"hash": 1 / (2 - event.sequence)})

    with pytest.raises(CommandError, match="ZeroDivisionError"):
        export(str(path))

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
