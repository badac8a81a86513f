"""Pictures of every page, to be looked at: wide and at 360 px, light and dark, with contents that strain the layout.

`python -m tests.screenshots [FOLDER]` (default: `screenshots`, which git ignores). It starts the service on a database
of its own and leaves nothing else behind. With `--documents` it writes the two pictures of README.md instead, into
docs/images.
"""

from __future__ import annotations

import argparse
import itertools
import re
import secrets
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page, StorageState, ViewportSize

from golive.domain.scopes import SCOPES
from golive.migration_graph.reports import render
from tests.migration_graph.reports import make_incident
from tests.support.chromium import NARROW, SCHEMES, WIDE, NoBrowserError, Scheme, chromium, fill_in_login, find_overflow
from tests.support.server import ROOT, GunicornServer, ServerError, clean_environment

PASSWORD = "shown-in-no-picture"
LIMITED = "maria.santos"
CONTROL, SYSTEM, EVENTS = "/admin/golive/golivestate/", "/admin/golive/systemmetadata/", "/admin/golive/event/"
TOKENS = "/admin/golive/apitoken/"
VERSION = "2026.11.22-rc.3+build.20261122T165800Z.e5c1b2f0a9d84736bb51"
NOTES = "Release candidate 3.\n\n" + "The queue for contracts is drained by hand until Monday. " * 6
REASON = "Signed off by the team on call, after the rehearsal of the rollback. " * 6
TOKEN = "deploys.of.a-service-with-a-long-name_in.europe-west-and.beyond"
UNBROKEN = "https://wiki.example.com/incidents/" + "2026-01-19-cycle-in-revisions-" * 30

_MAKE_LIMITED = f"""
from django.contrib.auth.models import Group, User
user = User.objects.create_user({LIMITED!r}, password={PASSWORD!r}, is_staff=True)
user.groups.add(Group.objects.get(name="Operators"))
"""


@dataclass(frozen=True)
class Shot:
    """One page: where it is, who looks (None: nobody signed in), and what is done before the picture."""

    name: str
    path: str
    user: str | None = "operator"
    act: Callable[[Page], None] = lambda page: None
    is_whole: bool = True


@dataclass
class Service:
    """The service with a database of its own, and the commands that change what the pages show."""

    folder: Path
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def database(self) -> Path:
        return self.folder / "screenshots.sqlite3"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DATABASE_URL": f"sqlite:///{self.database}",
            "SECRET_KEY": "only-for-screenshots-" + "0" * 32,
            "RENDER_GIT_COMMIT": "e5c1b2f0a9d84736bb51c2d3e4f5061728394a5b",
        }

    def manage(self, *arguments: str) -> str:
        """Run a management command; what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        environment = clean_environment(self.environment)
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        # 1 is what `golive` answers to a refusal by a rule, which some pictures are about.
        if done.returncode > 1:
            raise ServerError(f"{' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def prepare(self) -> None:
        """Tables, rows and two accounts."""
        self.manage("migrate", "--noinput")
        found = re.search(r"Password: (\S+)", self.manage("create_operator"))
        assert found is not None
        self.manage("shell", "-c", _MAKE_LIMITED)
        self.passwords = {"operator": found[1], LIMITED: PASSWORD}

    def golive(self, *arguments: str, actor: str) -> None:
        self.manage("golive", *arguments, "--actor", actor)

    def execute(self, sql: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(sql)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.screenshots", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--documents", action="store_true", help="the pictures of README.md, into docs/images")
    options = parser.parse_args(arguments)
    folder: Path = options.folder or ROOT / ("docs/images" if options.documents else "screenshots")
    try:
        count = take_for_documents(folder) if options.documents else take_all(folder)
    except (NoBrowserError, ServerError) as error:
        print(f"tests.screenshots: {error}", file=sys.stderr)
        return 1
    print(f"{count} pictures in {folder}")
    return 0


def take_all(folder: Path) -> int:
    """Take every picture into the folder; how many they are. Raises NoBrowserError, ServerError."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        service = Service(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="valhalla-screenshots-"))))
        service.prepare()
        server = stack.enter_context(GunicornServer(service.environment, workers=1))
        browser = stack.enter_context(chromium())
        base_url = server.url("").rstrip("/")
        sessions = {user: _sign_in(browser, base_url, user, password) for user, password in service.passwords.items()}
        count = 0
        for stage, (change, shots) in enumerate(STAGES, start=1):
            change(service)
            for width, scheme, user in itertools.product((WIDE, NARROW), SCHEMES, (None, *sessions)):
                looked_at = [shot for shot in shots if shot.user == user]
                if looked_at:
                    with _look(browser, width, scheme, sessions.get(user or "")) as page:
                        for shot in looked_at:
                            _take(page, base_url, shot, folder / f"{stage}-{shot.name}-{width}-{scheme}.png")
                            count += 1
        return count + _take_report(browser, folder)


def take_for_documents(folder: Path) -> int:
    """The console while execution is allowed, and an audit of a broken chain. Raises NoBrowserError, ServerError."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "audit.svg").write_text(render(make_incident(), "svg"))
    with ExitStack() as stack:
        service = Service(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="valhalla-screenshots-"))))
        service.prepare()
        for change, actor in (("complete", "maria"), ("release", "li.wei"), ("enable", "li.wei")):
            service.golive(change, "--reason", "Release 2.4.0 is signed off", actor=actor)
        server = stack.enter_context(GunicornServer(service.environment, workers=1))
        browser = stack.enter_context(chromium())
        base_url = server.url("").rstrip("/")
        session = _sign_in(browser, base_url, "operator", service.passwords["operator"])
        with _look(browser, WIDE, "light", session) as page:
            # No larger than what is to be seen: the state, the buttons, the checklist's beginning.
            page.set_viewport_size({"width": 1000, "height": 720})
            _take(page, base_url, Shot("console", CONTROL, is_whole=False), folder / "console.png")
    return 2


def _take_report(browser: Browser, folder: Path) -> int:
    """The page of an audit: it is a file, and needs no service."""
    pictures = list(itertools.product((WIDE, NARROW), SCHEMES))
    with tempfile.TemporaryDirectory(prefix="valhalla-screenshots-") as name:
        file = Path(name) / "audit.html"
        file.write_text(render(make_incident(), "html"))
        for width, scheme in pictures:
            with _look(browser, width, scheme, None) as page:
                _take(page, "", Shot("audit", file.as_uri(), act=_draw_rows), folder / f"audit-{width}-{scheme}.png")
    return len(pictures)


def _sign_in(browser: Browser, base_url: str, user: str, password: str) -> StorageState:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{base_url}/admin/")
        fill_in_login(page, user, password)
        return context.storage_state()


@contextmanager
def _look(browser: Browser, width: int, scheme: Scheme, session: StorageState | None) -> Iterator[Page]:
    size: ViewportSize = {"width": width, "height": 900 if width == WIDE else 740}
    with browser.new_context(viewport=size, color_scheme=scheme, storage_state=session) as context:
        yield context.new_page()


def _take(page: Page, base_url: str, shot: Shot, file: Path) -> None:
    page.goto(f"{base_url}{shot.path}")
    shot.act(page)
    page.screenshot(path=file, full_page=shot.is_whole, animations="disabled")
    overflow = find_overflow(page)
    if overflow is not None:
        print(f"{file.name} scrolls sideways: {overflow}", file=sys.stderr)


# -- what is to be seen ------------------------------------------------------------------------------------------------


def _open(change: str) -> Callable[[Page], None]:
    return lambda page: page.locator(f"[data-dialog=dialog-{change}]").click()


def _ask(change: str, reason: str) -> Callable[[Page], None]:
    """Open the dialog, write a reason and send it: what comes back when the answer is no."""

    def act(page: Page) -> None:
        _open(change)(page)
        dialog = page.locator(f"#dialog-{change}")
        dialog.locator("textarea[name=reason]").fill(reason)
        with page.expect_navigation():
            dialog.locator("button[type=submit]").click()

    return act


def _fail_to_sign_in(page: Page) -> None:
    with page.expect_navigation():
        fill_in_login(page, "operator", "not it")


def _open_filters(page: Page) -> None:
    page.goto(f"{page.url}?action=reopen&q=nobody")


def _draw_rows(page: Page) -> None:
    """Rows outside the window are not drawn, and a picture of the whole page does not change that: a taller window."""
    size = page.viewport_size
    assert size is not None
    page.set_viewport_size({**size, "height": page.evaluate("document.documentElement.scrollHeight")})


def _make_token(page: Page) -> None:
    """Send the form: the page that shows the token. Each picture makes its own, since a name is given once only."""
    page.get_by_label("Name").fill(f"pager-{secrets.token_hex(4)}")
    page.get_by_label("engage").check()
    _send_token(page)


def _send_token(page: Page) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name="Make the token").click()


def _leave_empty(service: Service) -> None:
    """As after the first deploy."""


def _go_live(service: Service) -> None:
    service.golive("enable", "--reason", "Too early", actor="dev@laptop")
    service.golive("complete", "--version", VERSION, "--notes", NOTES, "--reason", REASON, actor="maria.santos")
    service.golive(
        "release", "--reason", REASON, actor="a.very.long.username.from.the.directory@subsidiary.example.com"
    )
    service.golive("release", "--reason", "Me too", actor="li.wei")
    service.golive(
        "enable", "--override", "backend_complete", "--reason", "Go.\nEverybody has said so.", actor="li.wei"
    )
    scopes = [f"--scope={scope}" for scope in SCOPES]
    service.golive("token", "create", TOKEN, *scopes, "--expires", "90d", actor="maria.santos")
    service.golive("token", "create", "old", "--scope", "read", actor="maria.santos")
    service.manage("golive", "token", "revoke", "old")


def _stop_at_length(service: Service) -> None:
    service.golive("engage", "--reason", UNBROKEN, actor="maria.santos")


def _drift(service: Service) -> None:
    service.execute("UPDATE go_live_state SET kill_switch_engaged = 0 WHERE id = 1")


def _lose_the_row(service: Service) -> None:
    service.execute("DELETE FROM go_live_state")


STAGES: tuple[tuple[Callable[[Service], None], tuple[Shot, ...]], ...] = (
    (
        _leave_empty,
        (
            Shot("status", "/", user=None),
            Shot("login", "/admin/", user=None),
            Shot("login-refused", "/admin/", user=None, act=_fail_to_sign_in),
            Shot("not-found", "/nothing/here", user=None),
            Shot("docs", "/api/docs", user=None),
            Shot("index", "/admin/"),
            Shot("index-operator", "/admin/", user=LIMITED),
            Shot("control", CONTROL),
            Shot("control-operator", CONTROL, user=LIMITED),
            Shot("system", SYSTEM),
            Shot("events", EVENTS),
            Shot("events-none", EVENTS, act=_open_filters),
            Shot("dialog-engage", CONTROL, act=_open("engage"), is_whole=False),
            Shot("dialog-complete", SYSTEM, act=_open("complete"), is_whole=False),
            Shot("dialog-without-script", f"{CONTROL}?change=enable", is_whole=False),
            Shot("refused-checklist", CONTROL, act=_ask("enable", REASON), is_whole=False),
            Shot("refused-reason", CONTROL, act=_ask("release", " "), is_whole=False),
            Shot("tokens-none", TOKENS),
            Shot("token-add", f"{TOKENS}add/"),
            Shot("token-refused", f"{TOKENS}add/", act=_send_token),
            Shot("password", "/admin/password_change/"),
            Shot("not-permitted", "/admin/auth/user/", user=LIMITED),
        ),
    ),
    (
        _go_live,
        (
            Shot("status", "/", user=None),
            Shot("index", "/admin/"),
            Shot("control", CONTROL),
            Shot("system", SYSTEM),
            Shot("events", EVENTS),
            Shot("event", f"{EVENTS}5/change/"),
            Shot("event-override", f"{EVENTS}7/change/"),
            Shot("dialog-edit", SYSTEM, act=_open("edit"), is_whole=False),
            Shot("tokens", TOKENS),
            Shot("token-made", f"{TOKENS}add/", act=_make_token),
            Shot("token-revoke", f"{TOKENS}1/revoke/"),
        ),
    ),
    (
        _stop_at_length,
        (
            Shot("status", "/", user=None),
            Shot("control", CONTROL),
            Shot("events", EVENTS),
            Shot("event", f"{EVENTS}8/change/"),
        ),
    ),
    (_drift, (Shot("control", CONTROL),)),
    (
        _lose_the_row,
        (Shot("status", "/", user=None), Shot("index", "/admin/"), Shot("control", CONTROL), Shot("system", SYSTEM)),
    ),
)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
