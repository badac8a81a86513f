"""`manage.py create_operator`: create the first account, with a generated password that is shown once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, transaction

from golive.database.failures import explain_cause


class Command(BaseCommand):
    help = "Create an account that may do everything, with a generated password that is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="operator", help="default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        username: str = options["username"]
        try:
            get_user_model()._meta.get_field("username").clean(username, None)
            self._create(username)
        except ValidationError as error:
            raise CommandError(f"--username: {' '.join(error.messages)}") from error
        except Error as error:
            raise CommandError(explain_cause(error, using=DEFAULT_DB_ALIAS)) from error

    def _create(self, username: str) -> None:
        users = get_user_model()._default_manager
        with transaction.atomic():
            if users.filter(username=username).exists():
                again = f"python manage.py changepassword {username}"
                self.stdout.write(f"Account {username} exists. A new password: {again}")
                return
            password = secrets.token_urlsafe(15)
            users.create_superuser(username=username, email="", password=password)
        self.stdout.write(f"Account:  {username}\nPassword: {password}\nThe password is shown only once.")
