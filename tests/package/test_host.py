"""The app, installed from the wheel in somebody else's project: it works, and changes nothing unasked."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.package.environments import FreshEnvironment
from tests.package.host import Answer, Host, make_host
from tests.support.server import ROOT

pytestmark = pytest.mark.slow

OWN_PATHS = """
    urlpatterns.append(path("control/", include("golive.urls")))
"""
# The pages of the admin that are not about the app's own rows.
ADMIN_PAGES = (
    ("anonymous", "/admin/login/"),
    ("get", "/admin/"),
    ("get", "/admin/auth/"),
    ("get", "/admin/auth/user/"),
    ("get", "/admin/auth/user/add/"),
    ("get", "/admin/auth/user/1/delete/"),
    ("get", "/admin/auth/user/1/history/"),
    ("get", "/admin/password_change/"),
    ("get", "/admin/nowhere/"),
)
CONSOLE = (
    "/admin/golive/",
    "/admin/golive/golivestate/",
    "/admin/golive/systemmetadata/",
    "/admin/golive/event/",
    "/admin/golive/event/1/change/",
    "/admin/golive/apitoken/",
    "/admin/golive/apitoken/add/",
)
# The project of the guide has no migrations of its own to audit.
OVERRIDES = {"complete": (), "release": ("--override", "migration_graph"), "enable": ("--override", "migration_graph")}
_OUR_ROWS = re.compile(r"\n *<div class=\"app-golive module.*?</table>\n *</div>\n *(?=\n)", re.DOTALL)
_TOKEN = re.compile(r'(name="csrfmiddlewaretoken" value=")\w+')


def normalise(answer: Answer) -> Answer:
    """Without the random token of each form and without the rows of the app."""
    return Answer(answer.status, _OUR_ROWS.sub("", _TOKEN.sub(r"\1", answer.text)))


@pytest.fixture(scope="module")
def host(environment: FreshEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Host:
    """A project that has the app, migrated, and none of its settings, middleware and paths."""
    made = make_host(tmp_path_factory.mktemp("host"), environment, apps=["golive"])
    made.run("migrate")
    return made


def test_app__installed_from_the_wheel__is_what_runs(host: Host) -> None:
    where = host.environment.run(
        host.environment.python, "-c", "import golive; print(golive.__file__)", folder=host.folder
    )

    assert Path(where.stdout.strip()).is_relative_to(host.environment.folder)


def test_migrations__of_the_app__run_and_match_its_models(host: Host) -> None:
    assert "[ ]" not in host.run("showmigrations", "golive")
    host.run("makemigrations", "--check", "--dry-run", "golive")
    assert "KILL_SWITCH_ENGAGED" in host.manage("golive", "status").stdout


def test_console__in_a_host_without_the_app_s_paths__works(host: Host) -> None:
    engage = ("post", "/admin/golive/golivestate/apply/engage/", {"reason": "from the host"})
    *pages, engaged, after = host.ask(*(("get", path) for path in CONSOLE), engage, ("get", CONSOLE[1]))

    assert [page.status for page in pages] == [200] * len(CONSOLE)
    assert engaged.status == 302
    assert "from the host" in after.text
    for page in pages[1:]:
        assert "golive/admin.css" in page.text
        assert "Django administration" in page.text


def test_error_page__in_a_host_without_the_app_s_paths__is_made(host: Host) -> None:
    """What a change of the console is answered with whose maker may not see the row."""
    code = """if True:
        from django.template.loader import render_to_string
        print(render_to_string("golive/error.html", {"status": 503, "code": "NOT_APPLIED", "detail": "Nothing done."}))
    """

    page = host.run("shell", "--no-imports", "-c", code)

    assert "Nothing done." in page
    assert "status page" not in page


def test_console__tokens__are_made_and_revoked(host: Host) -> None:
    (made,) = host.ask(("post", "/admin/golive/apitoken/add/", {"name": "shop", "scopes": ["read"]}))
    listed, asked = host.ask(("get", "/admin/golive/apitoken/"), ("get", "/admin/golive/apitoken/1/revoke/"))

    assert "vgl_" in made.text
    assert "shop" in listed.text
    assert asked.status == 200


def test_static_files__of_the_app__are_collected(host: Host) -> None:
    host.run("collectstatic", "--noinput")

    collected = host.folder / "collected"
    assert {path.name for path in (collected / "golive").iterdir()} == {
        *("admin.css", "admin.js", "docs.css", "palette.css", "status.css", "status.js")
    }
    assert not (collected / "valhalla").exists()


def test_paths__of_the_app_where_the_host_wants_them__answer(environment: FreshEnvironment, tmp_path: Path) -> None:
    host = make_host(tmp_path, environment, apps=["golive"], urls=OWN_PATHS)
    host.run("migrate")

    answers = host.ask(
        *(("get", f"/control/{path}") for path in ("", "api/status", "api/openapi.json", "api/docs")),
        *(("get", path) for path in CONSOLE),
    )

    assert [answer.status for answer in answers] == [200] * len(answers)
    assert 'data-status-url="/control/api/status"' in answers[5].text


@pytest.mark.parametrize("has_own_look", [False, True])
def test_admin__of_the_host__is_byte_for_byte_as_without_the_app(
    environment: FreshEnvironment, tmp_path: Path, *, has_own_look: bool
) -> None:
    # First of all, where an app's templates and commands win over those of the others.
    shop = ["shop"] if has_own_look else []
    with_app = make_host(tmp_path / "with", environment, apps=["golive", *shop], has_own_look=has_own_look)
    without = make_host(tmp_path / "without", environment, apps=shop, has_own_look=has_own_look)
    for host in (with_app, without):
        host.run("migrate")
        host.ask(("get", "/admin/"))
    # Rows of the app too: the list of users can be filtered by them.
    with_app.run("shell", "-c", "from django.contrib.auth.models import Group; Group.objects.all().delete()")

    expected, answers = without.ask(*ADMIN_PAGES), with_app.ask(*ADMIN_PAGES)

    assert "/admin/golive/golivestate/" in answers[1].text
    for (_, path), before, after in zip(ADMIN_PAGES, expected, answers, strict=True):
        assert (path, normalise(after)) == (path, normalise(before))
    if has_own_look:
        assert "Shop header" in expected[1].text
        assert "<h1>The shop's own Shop index</h1>" in answers[1].text


# -- the guide ---------------------------------------------------------------------------------------------------------


def read_block(name: str) -> str:
    """The block of Python below `<!-- name -->` in the guide."""
    guide = (ROOT / "docs" / "embed" / "install.md").read_text()
    (block,) = re.findall(rf"<!-- {name} -->\n```python\n(.*?)```", guide, re.DOTALL)
    return str(block)


def test_guide__followed__gives_a_guarded_project(environment: FreshEnvironment, tmp_path: Path) -> None:
    pay = """
        from django.http import HttpResponse
        urlpatterns.append(path("pay/", lambda request: HttpResponse("paid")))
    """
    host = make_host(
        tmp_path,
        environment,
        apps=[],
        settings=f"{read_block('settings')}\nAPP_ENV = 'development'\n",
        urls=textwrap.dedent(pay) + read_block("urls"),
    )
    for command in ("migrate", "check"):
        host.run(command)
    stopped, status = host.ask(("get", "/pay/"), ("get", "/control/api/status"))
    for change in ("complete", "release", "enable"):
        host.run("golive", change, "--reason", "the guide", *OVERRIDES[change])

    (paid,) = host.ask(("get", "/pay/"))

    assert (stopped.status, status.status) == (503, 200)
    assert (paid.status, paid.text) == (200, "paid")


# -- migrate -----------------------------------------------------------------------------------------------------------


def test_migrate__of_a_host_that_asks_for_nothing__is_django_s_own(
    environment: FreshEnvironment, host: Host, tmp_path: Path
) -> None:
    without = make_host(tmp_path, environment, apps=[])

    assert host.run("migrate", "--help") == without.run("migrate", "--help")
    refused = host.manage("migrate", "--lock-timeout", "5")
    assert refused.returncode == 2
    assert "unrecognized arguments: --lock-timeout" in refused.stderr
    assert "deploy" not in host.run("golive", "history")


def test_migrate__of_a_host_whose_own_app_has_one__is_that_app_s(environment: FreshEnvironment, tmp_path: Path) -> None:
    host = make_host(tmp_path, environment, apps=["golive", "shop"], has_own_migrate=True)

    assert "The shop's own migrate." in host.run("migrate", "--help")


def test_migrate__of_a_host_that_asks_for_the_safe_one__is_ours(environment: FreshEnvironment, tmp_path: Path) -> None:
    host = make_host(tmp_path, environment, apps=["golive"], settings="GOLIVE_SAFE_MIGRATE = True")

    assert "--lock-timeout" in host.run("migrate", "--help")
    host.run("migrate", "--lock-timeout", "5")
    assert "deploy" in host.run("golive", "history")
    host.run("check")


def test_migrate__asked_for_where_another_app_s_comes_first__is_an_error(
    environment: FreshEnvironment, tmp_path: Path
) -> None:
    host = make_host(
        tmp_path,
        environment,
        apps=["shop", "golive"],
        settings="GOLIVE_SAFE_MIGRATE = True",
        has_own_migrate=True,
    )

    checked = host.manage("check")

    assert checked.returncode == 1
    assert "golive.E011" in checked.stderr
