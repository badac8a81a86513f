"""Which tree a folder holds, and what of it was not read: nothing that was passed over is called sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from golive.migration_graph.audit import AuditRequest, audit, run_audit
from golive.migration_graph.discovery.layouts import find_layout
from golive.migration_graph.model import AppliedRows, Kind, Report, Severity, UnusableInputError
from tests.migration_graph.folders import chain, find, make_alembic, render, write

DJANGO = "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    dependencies = []\n"
INI = "[alembic]\nscript_location = %(here)s/alembic\n"


def make_django(root: Path, *, installed: str = "['shop']", more: str = "", **files: str) -> Path:
    settings = f"INSTALLED_APPS = {installed}\n{more}"
    write(
        root,
        {
            "manage.py": "os.environ['DJANGO_SETTINGS_MODULE'] = 'site_.settings'\n".replace("['", '"').replace(
                "'] = ", '", '
            )
        },
    )
    write(root / "site_", {"__init__.py": "", "settings.py": settings})
    write(root / "shop", {"__init__.py": ""})
    write(root / "shop" / "migrations", {"__init__.py": "", "0001_initial.py": DJANGO, **files})
    return root


# -- which tree --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [".", "backend", "services/backend"])
def test_layout__only_tree_below_a_folder__is_found(tmp_path: Path, depth: str) -> None:
    make_alembic(tmp_path / depth, chain(a=None, b="'a'"))

    report = audit(tmp_path)

    assert (report.kind, report.revisions, report.sound) == (Kind.ALEMBIC, 2, True)


def test_layout__several_trees_below__are_listed_with_their_sizes(tmp_path: Path) -> None:
    make_alembic(tmp_path / "orders", chain(a=None, b="'a'"))
    make_django(tmp_path / "web")

    with pytest.raises(UnusableInputError, match=r"orders \(alembic, 2 files\), web \(django, 1 file\)"):
        find_layout(tmp_path)


def test_layout__script_folder_inside_a_configured_tree__is_no_tree_of_its_own(tmp_path: Path) -> None:
    make_alembic(tmp_path / "backend", chain(a=None))
    write(tmp_path / "backend", {"alembic.ini": INI + "version_locations = %(here)s/v1\n", "v1/b.py": render("b")})
    write(tmp_path / "backend" / "alembic", {"env.py": ""})

    report = audit(tmp_path)

    assert ([node.name for node in report.graph.nodes.values()], report.not_read[0].path) == (["b"], "alembic/versions")


def test_layout__tree_whose_name_begins_as_that_of_another__is_one_of_its_own(tmp_path: Path) -> None:
    for name in ("versions", "versions_of_stock"):
        write(tmp_path / "orders" / name, {"a.py": render("a")})
    write(tmp_path / "orders", {"env.py": ""})
    write(tmp_path / "orders" / "versions_of_stock", {"env.py": "", "versions/b.py": render("b")})
    write(tmp_path / "orders" / "versions_of_stock", {"alembic.ini": "[alembic]\nscript_location = %(here)s\n"})

    with pytest.raises(UnusableInputError, match=r"several trees.* orders \(.*, orders/versions_of_stock \("):
        find_layout(tmp_path)


def test_layout__tree_that_cannot_be_read__is_not_passed_over_for_another(tmp_path: Path) -> None:
    make_alembic(tmp_path / "orders", chain(a=None))
    write(tmp_path / "stock", {"alembic.ini": "no section\n"})

    with pytest.raises(UnusableInputError, match=r"stock.alembic\.ini cannot be read"):
        find_layout(tmp_path)


def test_layout__alembic_beside_folders_called_migrations__is_not_django(tmp_path: Path) -> None:
    write(tmp_path / "app" / "migrations", {"env.py": "", "versions/a.py": render("a")})
    write(tmp_path / "app", {"__init__.py": "", "models.py": ""})

    assert audit(tmp_path).kind is Kind.ALEMBIC


def test_layout__flask_migrate__needs_no_script_location(tmp_path: Path) -> None:
    write(tmp_path / "migrations", {"alembic.ini": "[alembic]\n", "env.py": "", "versions/a.py": render("a")})

    for path in (tmp_path, tmp_path / "migrations"):
        report = audit(path)
        assert (report.kind, report.revisions, report.sound) == (Kind.ALEMBIC, 1, True)


def test_layout__ini_and_pyproject__are_merged_option_by_option(tmp_path: Path) -> None:
    make_alembic(tmp_path, {})
    write(tmp_path, {"pyproject.toml": '[tool.alembic]\nversion_locations = ["%(here)s/v1", "%(here)s/v2"]\n'})
    write(tmp_path, {"v1/a.py": render("a"), "v2/b.py": render("b", "'a'")})

    assert audit(tmp_path).revisions == 2


def test_layout__sections_with_names__are_listed_and_chosen_by_name(tmp_path: Path) -> None:
    ini = "[orders]\nscript_location = %(here)s/orders\n[stock]\nscript_location = %(here)s/stock\n"
    write(tmp_path, {"alembic.ini": ini, "orders/versions/a.py": render("a"), "stock/versions/b.py": render("b")})

    with pytest.raises(UnusableInputError, match="--name: orders, stock"):
        find_layout(tmp_path)

    (location,) = find_layout(tmp_path, "stock").locations
    assert location.folder == tmp_path / "stock" / "versions"


@pytest.mark.parametrize("location", ["lib/mig", "lib:mig"])
def test_layout__script_location__may_start_above_the_configuration(tmp_path: Path, location: str) -> None:
    write(tmp_path / "etc", {"alembic.ini": f"[alembic]\nscript_location = {location}\n"})
    write(tmp_path / "lib", {"mig/env.py": "", "mig/versions/a.py": render("a")})

    assert audit(tmp_path / "etc").revisions == 1


# -- what was not read -------------------------------------------------------------------------------------------------


def get_not_read(path: Path) -> list[tuple[str, int]]:
    """Path and count of what was not read; each has its finding."""
    report = audit(path)
    assert len(find(report, "MG108")) == len(report.not_read)
    return [(each.path, each.files) for each in report.not_read]


def test_not_read__subfolder_with_revisions_of_the_graph__is_an_error(tmp_path: Path) -> None:
    make_alembic(tmp_path, {**chain(a=None), "2026/b.py": render("b", "'a'")})

    report = audit(tmp_path)

    assert get_not_read(tmp_path) == [("alembic/versions/2026", 1)]
    assert find(report, "MG108")[0].severity is Severity.ERROR
    assert not report.sound


def test_not_read__revisions_that_lead_nowhere_here__are_a_warning(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    write(tmp_path / "old" / "versions", {"x.py": render("x")})

    report = audit(tmp_path)

    assert get_not_read(tmp_path) == [("old/versions", 1)]
    assert report.sound


def test_not_read__location_that_is_not_there__is_an_error(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    write(tmp_path, {"alembic.ini": INI + "version_locations = %(here)s/gone %(here)s/alembic/versions\n"})

    report = audit(tmp_path)

    assert get_not_read(tmp_path) == [("gone", 0)]
    assert not report.sound


def test_not_read__another_section__is_a_warning(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    write(
        tmp_path, {"alembic.ini": INI + "[stock]\nscript_location = %(here)s/stock\n", "stock/versions/b.py": "x = 1\n"}
    )

    assert get_not_read(tmp_path) == [("alembic.ini", 1)]
    assert audit(tmp_path).sound


def test_not_read__compiled_files_that_alembic_loads__are_an_error(tmp_path: Path) -> None:
    make_alembic(tmp_path, chain(a=None))
    write(
        tmp_path,
        {"alembic.ini": INI + "sourceless = true\n", "alembic/versions/b.pyc": b"", "alembic/versions/a.pyc": b""},
    )

    assert get_not_read(tmp_path) == [("alembic/versions", 1)]
    assert not audit(tmp_path).sound


def test_not_read__django__folder_without_init_and_switched_off_modules__are_told(tmp_path: Path) -> None:
    make_django(tmp_path, installed="['shop', 'stock']", more="MIGRATION_MODULES = {'shop': None}\n")
    write(tmp_path / "stock", {"__init__.py": "", "migrations/0001_initial.py": DJANGO})

    assert get_not_read(tmp_path) == [("shop/migrations", 1), ("stock/migrations", 1)]


def test_not_read__django__nothing_at_all_was_read__is_not_sound(tmp_path: Path) -> None:
    make_django(tmp_path)
    (tmp_path / "shop" / "migrations" / "__init__.py").unlink()

    report = audit(tmp_path)

    assert (report.revisions, report.sound, get_not_read(tmp_path)) == (0, False, [("shop/migrations", 1)])


def test_not_read__django__settings_and_modules_that_are_not_here__are_told(tmp_path: Path) -> None:
    make_django(tmp_path, more="MIGRATION_MODULES = {'shop': 'elsewhere.shop'}\n")
    assert get_not_read(tmp_path) == [("elsewhere.shop", 0)]

    (tmp_path / "site_" / "settings.py").unlink()
    assert get_not_read(tmp_path) == [("site_.settings", 0)]


def test_not_read__django__settings_that_are_tried_and_not_committed__are_told(tmp_path: Path) -> None:
    make_django(tmp_path, more="try:\n    from .local import *\nexcept ImportError:\n    pass\n")
    write(tmp_path / "shop" / "migrations", {"0001_initial.py": depend_on("stock", "0001_initial")})

    report = audit(tmp_path)

    assert get_not_read(tmp_path) == [(".local", 0)]
    assert (report.sound, report.graph.unchecked) == (True, 1)

    write(tmp_path / "site_", {"local.py": "INSTALLED_APPS += ['stock']\n"})
    assert get_not_read(tmp_path) == []


# -- references out of the project -------------------------------------------------------------------------------------


def depend_on(app: str, name: str) -> str:
    return DJANGO.replace("[]", f"[({app!r}, {name!r})]")


@pytest.mark.parametrize(
    ("installed", "target", "codes", "unchecked"),
    [
        ("['shop', 'django.contrib.auth']", ("auth", "0001_initial"), [], 0),
        ("['shop', 'django.contrib.auth']", ("auth", "__first__"), [], 0),
        ("['shop', 'django.contrib.auth']", ("auth", "0999_gone"), ["MG107"], 0),
        ("['shop']", ("stock", "0001_initial"), ["MG107"], 1),
        ("['shop', 'package_that_is_not_here']", ("stock", "0001_initial"), [], 1),
        ("['shop'] + unknown()", ("stock", "0001_initial"), [], 1),
    ],
)
def test_reference__out_of_the_project__is_an_error_only_where_that_is_certain(
    tmp_path: Path, installed: str, target: tuple[str, str], codes: list[str], unchecked: int
) -> None:
    make_django(tmp_path, installed=installed, **{"0001_initial.py": depend_on(*target)})

    report = audit(tmp_path)

    assert [finding.code for finding in report.findings] == codes
    assert report.graph.unchecked == unchecked


@pytest.mark.parametrize(
    ("entry", "module"),
    [
        ("shop", "apps.py"),
        ("shop.apps.ShopConfig", "apps.py"),
        ("shop.config.ShopConfig", "config.py"),
        ("shop.ShopConfig", "__init__.py"),
    ],
)
def test_app__configuration_of_its_own__has_its_label(tmp_path: Path, entry: str, module: str) -> None:
    make_django(tmp_path, installed=f"[{entry!r}]")
    config = "class ShopConfig(AppConfig):\n    name = 'shop'\n    label = 'store'\n"
    write(tmp_path / "shop", {module: config})

    assert [node.name for node in audit(tmp_path).graph.nodes.values()] == ["store.0001_initial"]


# -- findings of names -------------------------------------------------------------------------------------------------


def test_duplicate__made_after_the_first__gets_the_new_id_and_no_cut_is_offered(tmp_path: Path) -> None:
    make_alembic(tmp_path, {"z_first.py": render("a"), **chain(b="'a'", c="'b'"), "bridge.py": render("a", "'c'")})

    report = audit(tmp_path)

    (finding,) = [each for each in report.findings if each.severity is Severity.ERROR]
    assert (finding.code, finding.file) == ("MG103", "alembic/versions/bridge.py")
    assert "bridge.py a new id" in finding.hint


@pytest.mark.parametrize("word", ["base", "head", "heads"])
def test_id__a_word_of_alembic__is_a_clash(tmp_path: Path, word: str) -> None:
    make_alembic(tmp_path, chain(a=None, **{word: "'a'"}))

    assert [each.code for each in find(audit(tmp_path), "MG110")] == ["MG110"]


def test_squashed__its_old_name_is_used_again__is_a_clash(tmp_path: Path) -> None:
    squashed = DJANGO + "    replaces = [('shop', '0001_initial'), ('shop', '0002_more')]\n"
    make_django(tmp_path)
    (tmp_path / "shop" / "migrations" / "0001_initial.py").unlink()
    again = depend_on("shop", "0001_squashed")
    write(tmp_path / "shop" / "migrations", {"0001_squashed.py": squashed, "0002_more.py": again})

    (finding,) = find(audit(tmp_path), "MG110")
    assert (finding.file, finding.revisions) == (
        "shop/migrations/0002_more.py",
        ("shop.0002_more", "shop.0001_squashed"),
    )


def test_heads__each_with_a_label_of_its_own__are_a_warning(tmp_path: Path) -> None:
    labelled = {name: render(name, more=f"branch_labels = {name * 3!r}\n") for name in ("a", "b")}
    make_alembic(tmp_path, {f"{name}.py": source for name, source in labelled.items()})

    (finding,) = find(audit(tmp_path), "MG201")
    assert finding.severity is Severity.WARNING
    assert finding.hint.startswith("`alembic upgrade heads` runs them all; merge them only if")


def test_dangling__may_be_the_id_that_could_not_be_read__is_no_error(tmp_path: Path) -> None:
    unread = "from baseline import ID\nrevision = ID\ndown_revision = None\n"
    make_alembic(tmp_path, {"x.py": unread, **chain(b="'the_baseline'", c="'b'")})

    assert [each.code for each in audit(tmp_path).findings if each.severity is Severity.ERROR] == []


def audit_with(root: Path, *packages: Path) -> Report:
    request = AuditRequest(packages=[str(package) for package in packages])

    def refuse(url: str, kind: Kind) -> AppliedRows:
        raise AssertionError(url)

    return run_audit(str(root), request, refuse).report


def test_with__what_another_package_defines__is_no_dangling_reference(tmp_path: Path) -> None:
    ours = make_alembic(tmp_path / "ours", {"a.py": render("a", more="depends_on = ('theirs', 'label', 'gone')\n")})
    theirs = make_alembic(tmp_path / "theirs", {"t.py": render("theirs", more="branch_labels = 'label'\n")})

    assert len(find(audit_with(ours), "MG107")) == 3
    report = audit_with(ours, theirs)

    assert [each.message.split("'")[1] for each in find(report, "MG107")] == ["gone"]
    assert report.revisions == 1


def test_with__an_app_of_another_package__knows_its_migrations(tmp_path: Path) -> None:
    def make_app(folder: Path, label: str, dependencies: str) -> Path:
        write(folder / label / "migrations", {"__init__.py": ""})
        source = f"from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n    {dependencies}\n"
        write(folder / label, {"__init__.py": "", "migrations/0001_initial.py": source})
        return folder

    theirs = make_app(tmp_path / "theirs", "stock", "dependencies = []")
    ours = make_app(tmp_path / "ours", "shop", "dependencies = [('stock', '0001_initial'), ('stock', '0002_gone')]")

    assert audit_with(ours).graph.unchecked == 2
    report = audit_with(ours, theirs)

    assert [each.message.split("'")[1] for each in find(report, "MG107")] == ["stock.0002_gone"]
    assert report.graph.unchecked == 0


def test_with__another_tool__is_refused(tmp_path: Path) -> None:
    ours = make_alembic(tmp_path / "ours", chain(a=None))
    write(tmp_path / "theirs" / "shop" / "migrations", {"__init__.py": "", "0001_x.py": "class Migration:\n    pass\n"})

    with pytest.raises(UnusableInputError, match="are of django, the audited of alembic"):
        audit_with(ours, tmp_path / "theirs")


@pytest.mark.parametrize("name", ["__init__x.py", ".#c.py"])
def test_not_read__a_revision_with_a_name_that_alembic_passes_over(tmp_path: Path, name: str) -> None:
    report = audit(make_alembic(tmp_path, {**chain(a=None), name: render("b", "'a'")}))

    (finding,) = find(report, "MG108")
    assert (finding.file, finding.severity) == (f"alembic/versions/{name}", Severity.WARNING)
    assert "loads no file of this name" in finding.message


@pytest.mark.parametrize("name", ["_0002_b.py", "0002_v1.2.py"])
def test_not_read__a_migration_with_a_name_that_django_passes_over(tmp_path: Path, name: str) -> None:
    root = make_django(tmp_path)
    write(root / "shop" / "migrations", {name: DJANGO, "_helpers.py": "def move(): ...\n"})

    assert [finding.file for finding in find(audit(root), "MG108")] == [f"shop/migrations/{name}"]


def test_path__above_the_tree__is_named_down_to_it(tmp_path: Path) -> None:
    make_alembic(tmp_path / "services" / "shop", chain(a=None))

    assert audit(tmp_path).path == str(tmp_path / "services" / "shop")
    assert audit(tmp_path / "services" / "shop").path == str(tmp_path / "services" / "shop")


def test_lock__beside_the_path_or_the_configuration__is_found(tmp_path: Path) -> None:
    shop = make_alembic(tmp_path / "shop", chain(a=None))
    for folder in (tmp_path, shop):
        lock = folder / "migrations.lock"
        lock.write_text("format = 2\n\n[revisions]\ngone = { body = 'x' }\n")
        for path in (tmp_path, shop / "alembic" / "versions"):
            is_found = folder in (path, shop)
            assert bool(find(audit(path), "MG402")) == is_found, (folder, path)
        lock.unlink()
