"""`manage.py create_operator`: a first account to sign in with, its generated password shown once."""

from __future__ import annotations

import secrets
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction


class Command(BaseCommand):
    help = "Create an account that may do everything, with a generated password that is shown once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--username", default="operator", help="default: %(default)s")

    def handle(self, *args: Any, **options: Any) -> None:
        users = get_user_model()._default_manager
        username: str = options["username"]
        with transaction.atomic():
            if users.filter(username=username).exists():
                self.stdout.write(f"Account {username} exists. A new password: manage.py changepassword {username}")
                return
            password = secrets.token_urlsafe(15)
            users.create_superuser(username=username, email="", password=password)
        self.stdout.write(f"Account:  {username}\nPassword: {password}\nThe password is shown this once only.")
