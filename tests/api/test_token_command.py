"""`manage.py golive token`: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from golive.identity import tokens
from golive.models import ApiToken


@pytest.fixture(autouse=True)
def _in_database(database: None) -> None:
    pass


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("golive", "token", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create__prints_nothing_but_the_token_where_scripts_read() -> None:
    out, err = run("create", "bot", "--scope", "engage", "--scope", "read", "--expires", "90d", "--actor", "ann")

    assert re.fullmatch(r"vgl_[A-Za-z0-9]+_[A-Za-z0-9]{43}\n", out)
    assert tokens.verify_token(out.strip()) is not None
    assert "once" in err
    row = ApiToken.objects.get()
    assert (row.created_by, row.scopes) == ("ann", ["read", "engage"])
    assert row.expires_at is not None
    assert (row.expires_at - row.created_at).days == 90


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "bot", "--scope", "root"), 1),
        (("create", "b t", "--scope", "read"), 1),
        (("create", "bot", "--scope", "read", "--expires", "soon"), 2),
        (("create", "bot", "--scope", "read", "--expires", "0d"), 1),
        (("create", "bot", "--scope", "read", "--expires", "99999w"), 1),
        (("revoke", "nobody"), 1),
    ],
)
def test_wrong__says_so_with_its_exit_code(arguments: tuple[str, ...], code: int) -> None:
    with pytest.raises(CommandError) as caught:
        run(*arguments)

    assert caught.value.returncode == code
    assert not ApiToken.objects.exists()


def test_list__shows_all_and_no_secret() -> None:
    text = run("create", "bot", "--scope", "engage")[0].strip()
    run("create", "other", "--scope", "read")
    run("revoke", "other")

    shown, listed = run("list")[0], json.loads(run("list", "--json")[0])

    assert [(row["name"], row["state"]) for row in listed] == [("bot", "valid"), ("other", "revoked")]
    assert "bot" in shown
    assert "revoked" in shown
    assert text.rpartition("_")[2] not in shown + json.dumps(listed)


def test_revoke__twice__is_done_both_times() -> None:
    text = run("create", "bot", "--scope", "engage")[0].strip()

    assert run("revoke", "bot")[0] == run("revoke", "bot")[0] == "bot: revoked.\n"
    assert tokens.verify_token(text) is None


def test_list__of_none__says_so() -> None:
    assert run("list")[0] == "There are no tokens.\n"
