"""Resolve Django's references: `__first__`, `__latest__`, swappable models, squashed migrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from golive.migration_graph.model import Node, ParsedFile, Project, Reference, Role, get_app, index_by_name, split_name
from golive.migration_graph.readers.django import SETTING_PREFIX

FIRST, LATEST = "__first__", "__latest__"
# The app of a swappable model whose setting is not known.
UNKNOWN_APP = "?"


class DjangoResolver:
    """Resolves in Django's order: within each app, then between apps, then replacements.

    References to other packages are no edges. They are errors where it is certain that the target does not exist,
    otherwise they are counted in `unchecked`.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        files: Iterable[ParsedFile],
        project: Project,
        removed: Iterable[ParsedFile] = (),
    ) -> None:
        """`removed`: squashed migrations that Django leaves out, so that what refers to them leads to the old ones."""
        self.nodes = nodes
        self.files = [file for file in files if file.key in nodes]
        self.project = project
        self.keys = index_by_name(nodes)
        self.migrated = {get_app(node.name) for node in nodes.values()}
        self.apps = self.migrated | set(project.apps or ())
        self.parents: dict[str, tuple[str, ...]] = {}
        self.dependencies: dict[str, tuple[str, ...]] = {}
        self.dangling: dict[str, tuple[Reference, ...]] = {}
        self.origins: dict[tuple[str, str], tuple[str, int]] = {}
        self.replaced: dict[str, str] = {}
        self.unchecked = 0
        self._inner_parents: dict[str, set[str]] = {}
        self._inner_children: dict[str, set[str]] = {}
        for file in removed:
            if file.node is not None and (last := self._find_last(file.replaces)):
                self.keys[file.node.name] = last

    def _find_last(self, names: Iterable[str]) -> list[str]:
        """The keys of those that no other of them depends on."""
        existing = [key for name in names for key in self.keys.get(name, ())]
        before = {reference.name for key in existing for reference in self.nodes[key].references}
        return [key for key in existing if self.nodes[key].name not in before]

    def resolve(self) -> None:
        for file in self.files:
            self._resolve_inner(file.key)
        for file in self.files:
            self._resolve_outer(file)
        self._replace()

    def _resolve_inner(self, key: str) -> None:
        app = get_app(self.nodes[key].name)
        for reference in self.nodes[key].references:
            target_app, name = split_name(self._expand(reference.name))
            # Within the app, Django ignores `__first__` and takes `__latest__` for the name of a migration.
            if target_app == app and name != FIRST:
                targets = self.keys.get(f"{app}.{name}")
                if targets is None:
                    self._add_dangling(key, reference)
                for parent in targets or ():
                    self._connect(key, parent, self.parents)
                    self._inner_parents.setdefault(key, set()).add(parent)
                    self._inner_children.setdefault(parent, set()).add(key)

    def _resolve_outer(self, file: ParsedFile) -> None:
        key = file.key
        app = get_app(self.nodes[key].name)
        for reference in self.nodes[key].references:
            target = self._expand(reference.name)
            if get_app(target) == app:
                continue
            parents = self._find(target)
            if parents is None:
                self._add_dangling(key, reference)
            for parent in parents or ():
                self._connect(key, parent, self.parents)
        for reference in file.run_before:
            children = self._find(self._expand(reference.name))
            if children is None:
                self._add_dangling(key, reference)
            for child in children or ():
                self._connect(child, key, self.dependencies)
                if key in self.dependencies.get(child, ()):
                    self.origins[child, key] = (key, reference.line)

    def _expand(self, name: str) -> str:
        """Replace a setting by the first migration of its model's app; AUTH_USER_MODEL defaults to `auth.User`."""
        if not name.startswith(SETTING_PREFIX):
            return name
        setting = name.removeprefix(SETTING_PREFIX)
        model = self.project.settings.get(setting, "auth.User" if setting == "AUTH_USER_MODEL" else "")
        return f"{model.split('.')[0].lower()}.{FIRST}" if model else f"{UNKNOWN_APP}.{FIRST}"

    def _find(self, target: str) -> list[str] | None:
        """The keys of a target; empty: outside the project; None: dangling, since there is no such migration."""
        app, name = split_name(target)
        if target in self.keys:
            return self.keys[target]
        if app not in self.apps:
            return self._look_outside(app, name)
        if name in (FIRST, LATEST):
            if app not in self.migrated:
                return []  # an app without migrations: Django ignores the dependency
            return self._find_end(app, self._inner_parents if name == FIRST else self._inner_children)
        return None

    def _look_outside(self, app: str, name: str) -> list[str] | None:
        """Empty if another package may have this migration, None if none has it."""
        names = self.project.foreign.get(app)
        if names is not None:
            return [] if name in (FIRST, LATEST) or name in names else None
        self.unchecked += 1
        is_certain = self.project.is_closed and app not in (UNKNOWN_APP, *self.project.foreign)
        return None if is_certain else []

    def _find_end(self, app: str, neighbours: Mapping[str, set[str]]) -> list[str]:
        """The root (or leaf) that Django chooses: the first by name."""
        ends = [key for name, keys in sorted(self.keys.items()) if get_app(name) == app for key in keys]
        return [key for key in ends if not neighbours.get(key)][:1]

    def _connect(self, child: str, parent: str, edges: dict[str, tuple[str, ...]]) -> None:
        existing = edges.get(child, ())
        if parent != child and parent not in existing and parent not in self.parents.get(child, ()):
            edges[child] = (*existing, parent)

    def _add_dangling(self, key: str, reference: Reference) -> None:
        self.dangling[key] = (*self.dangling.get(key, ()), reference)

    def _replace(self) -> None:
        """Replace the old migrations by their squashed ones, as on a database where none of them is applied."""
        for file in self.files:
            old = [key for name in file.replaces for key in self.keys.get(name, ()) if key != file.key]
            old = [key for key in old if key not in self.replaced]
            if old:
                self._replace_nodes(file.key, old)
            # References to a replaced migration whose file is gone lead to its replacement.
            self._redirect(file)

    def _replace_nodes(self, new: str, old: list[str]) -> None:
        gone = set(old)
        for edges in (self.parents, self.dependencies):
            affected = [child for child, parents in edges.items() if child in gone or gone.intersection(parents)]
            for child in affected:
                parents = edges.pop(child)
                for parent in parents:
                    to_child = new if child in gone else child
                    to_parent = new if parent in gone else parent
                    # An edge between two migrations replaced by the same one disappears.
                    if to_child != to_parent:
                        self._move(child, parent, to_child, to_parent, edges)
        self.replaced.update(dict.fromkeys(old, new))

    def _move(self, child: str, parent: str, to_child: str, to_parent: str, edges: dict[str, tuple[str, ...]]) -> None:
        self._connect(to_child, to_parent, edges)
        if (to_child, to_parent) != (child, parent):
            origin = self.origins.get((child, parent)) or (child, self._find_line(child, parent))
            self.origins.setdefault((to_child, to_parent), origin)

    def _find_line(self, child: str, parent: str) -> int:
        node, target = self.nodes[child], self.nodes[parent].name
        return next((reference.line for reference in node.references if reference.name == target), node.line)

    def _redirect(self, file: ParsedFile) -> None:
        for child, dangling in list(self.dangling.items()):
            replaced_here = [reference for reference in dangling if self._expand(reference.name) in file.replaces]
            for reference in replaced_here if child != file.key and child not in self.replaced else ():
                if reference.role is Role.DEPENDENCY:  # `run_before`: the missing migration is the child
                    self._connect(file.key, child, self.dependencies)
                    self.origins.setdefault((file.key, child), (child, reference.line))
                else:
                    self._connect(child, file.key, self.parents)
                    self.origins.setdefault((child, file.key), (child, reference.line))
            remaining = tuple(reference for reference in dangling if reference not in replaced_here)
            if remaining:
                self.dangling[child] = remaining
            else:
                del self.dangling[child]
