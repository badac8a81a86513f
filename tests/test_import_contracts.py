"""The import contracts of pyproject.toml refuse what they are there for. `make check` holds the code to them."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import grimp
import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.domain.contract import Contract

from tests.support.server import ROOT

_TYPES: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
}


@cache
def find_graph() -> Any:
    return grimp.build_graph("golive", "valhalla", include_external_packages=True, cache_dir=None)


@cache
def find_contracts() -> dict[str, Contract]:
    configure()
    options = read_user_options(str(ROOT / "pyproject.toml"))
    return {
        each["id"]: _TYPES[each["type"]](each["name"], options.session_options, each)
        for each in options.contracts_options
    }


def find_broken(importer: str, imported: str) -> set[str]:
    """The ids of the contracts that one more import breaks."""
    graph = copy.deepcopy(find_graph())
    for module in (importer, imported):
        if module not in graph.modules:
            graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    return {
        id for id, contract in find_contracts().items() if not contract.check(copy.deepcopy(graph), verbose=False).kept
    }


def test_contracts__as_the_code_is__are_kept() -> None:
    graph = find_graph()

    assert [
        id for id, contract in find_contracts().items() if not contract.check(copy.deepcopy(graph), verbose=False).kept
    ] == []


@pytest.mark.parametrize(
    ("importer", "imported", "broken"),
    [
        ("golive.domain.decision", "golive.models", "rooms"),
        ("golive.domain.decision", "golive.database.deadline", "rooms"),
        ("golive.models", "golive.state.singletons", "rooms"),
        ("golive.database.schema", "golive.postgresql.circuit_breaker", "rooms"),
        ("golive.postgresql.base", "golive.state.leases", "rooms"),
        ("golive.state.snapshots", "golive.controls.apply", "rooms"),
        ("golive.state.snapshots", "golive.web.problems", "rooms"),
        ("golive.execution", "golive.web.problems", "rooms"),
        ("golive.readiness.checks", "golive.controls.rehearsal", "rooms"),
        ("golive.web.enforcement", "golive.identity.credentials", "rooms"),
        ("golive.controls.apply", "golive.identity.tokens", "rooms"),
        ("golive.gate", "golive.middleware", "rooms"),
        ("golive.api.reads", "golive.console.dialogs", "rooms"),
        ("golive.migrations.adoption.plan", "golive.models", "rooms"),
        ("golive.migrations.adoption.plan", "golive.domain.rows", "rooms"),
        ("golive.migration_graph.model", "golive.domain.rows", "rooms"),
        ("golive.guard", "golive.domain.decision", "rooms"),
        ("golive.a_new_module_without_a_room", "golive.domain.rows", "rooms"),
        ("golive.migration_graph.readers.alembic", "golive.migration_graph.graph.build", "migration-graph"),
        ("golive.migration_graph.findings.cycles", "golive.migration_graph.history.git", "migration-graph"),
        ("golive.migration_graph.graph.build", "golive.migration_graph.discovery.sources", "migration-graph"),
        ("golive.migration_graph.a_new_part", "golive.migration_graph.model", "migration-graph"),
        ("golive.migration_graph.reports.sarif", "golive.migration_graph.history.git", "reports"),
        ("golive.domain.reasons", "golive.domain.effects", "acyclic"),
        ("golive.state.leases", "valhalla.environment", "app"),
        ("golive.domain.decision", "django", "pure"),
        ("golive.migration_graph.readers.alembic", "alembic", "pure"),
        ("golive.guard", "golive.text", "single-files"),
        ("golive.gate", "golive.readiness.project_graph", "migration-graph-callers"),
        ("golive.api.reads", "golive.migration_graph.audit", "migration-graph-callers"),
    ],
)
def test_contracts__with_a_forbidden_import__are_broken(importer: str, imported: str, broken: str) -> None:
    assert broken in find_broken(importer, imported)
