"""`manage.py create_operator`: the first account."""

from __future__ import annotations

import io
import re

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command

from tests.support.faults import renamed_table

pytestmark = pytest.mark.usefixtures("database")


def create(username: str) -> str:
    """What the command prints."""
    printed = io.StringIO()
    call_command("create_operator", "--username", username, stdout=printed)
    return printed.getvalue()


def test_create__first_account__may_sign_in_with_the_password_shown() -> None:
    found = re.fullmatch(r"Account:  ann\nPassword: (\S{20})\nThe password is shown only once\.\n", create("ann"))

    assert found is not None
    user = authenticate(username="ann", password=found[1])
    assert user is not None
    assert user.is_superuser


def test_create__account_that_exists__keeps_its_password() -> None:
    password = create("ann").split()[3]

    assert create("ann") == "Account ann exists. A new password: python manage.py changepassword ann\n"
    assert authenticate(username="ann", password=password) is not None


@pytest.mark.parametrize("username", ["a b", "", "x" * 151, "line\nbreak"])
def test_create__name_that_cannot_be_one__is_refused(username: str) -> None:
    with pytest.raises(CommandError, match=r"^--username: "):
        create(username)


def test_create__before_the_tables_are_there__names_the_remedy() -> None:
    with renamed_table("auth_user"), pytest.raises(CommandError, match=r"Run `manage\.py migrate`\.$"):
        create("ann")
