"""Annotate a report with the git history: the commit that introduced each finding, and all past episodes.

The working tree counts as one more, unnamed commit: an uncommitted finding has `introduced_by` None and its `edit`, if
any, and `history_note` says so. The history never affects whether a graph is sound.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.history.edge_origins import EdgeOrigin, EdgeOrigins
from golive.migration_graph.history.git import HistoryUnavailableError, NoHistoryError, Repository
from golive.migration_graph.history.past import Past, Removed
from golive.migration_graph.history.states import Removal, Span, name_defect
from golive.migration_graph.history.timeline import Timeline, read_timeline
from golive.migration_graph.history.versions import Key, Origin, Version, read_names
from golive.migration_graph.model import Edit, Episode, Finding, Graph, Node, Report, Severity, index_by_name
from golive.migration_graph.readers.values import format_value

MAX_SECONDS = 60.0
_MAX_NAMES = 3


def trace(
    report: Report, layout: Layout, *, seconds: float = MAX_SECONDS, is_asked_for: bool = True
) -> tuple[Report, Past]:
    """The report with `introduced_by`, `edit`, `episodes`, `last_sound` and `history_note`; and what remedies rest on.

    If the history cannot be read, the note says why and the rest of the report is unchanged. That there is none is
    told only if it was asked for.
    """
    try:
        repository = Repository(layout.root, seconds=seconds)
        timeline = read_timeline(report, layout, repository)
        return _Tracer(report, timeline, repository).trace()
    except NoHistoryError as error:
        return (replace(report, history_note=f"No history: {error}.") if is_asked_for else report), Past()
    except HistoryUnavailableError as error:
        return replace(report, history_note=f"No history: {error}."), Past()


class _Tracer:
    def __init__(self, report: Report, timeline: Timeline, repository: Repository) -> None:
        self._report = report
        self._timeline = timeline
        self._is_shallow = repository.is_shallow
        spans = timeline.state.defects
        self._spans = [(finding, spans.get(name_defect(finding, report.kind))) for finding in report.findings]
        self._versions = {one.known.key: one for one in timeline.state.versions.values() if one.known}
        self._loops = [(span, set(finding.revisions)) for finding, span in self._spans if finding.cuts and span]
        numbers = {number for span in timeline.spans for number in (span.began, span.ended)}
        numbers |= {origin.commit for *_, origin in self._list_loop_edges()}
        self._removals = _list_removals(report.graph, timeline.removals)
        numbers |= {removal.commit for removal in self._removals.values()}
        known = [number for number in numbers if number is not None and self._is_known(number)]
        wanted = {timeline.commits[number] for number in known}
        self._named = repository.describe(sorted(wanted | ({timeline.last_sound} if timeline.last_sound else set())))
        self._commits = {number: self._named[timeline.commits[number]] for number in known}

    def trace(self) -> tuple[Report, Past]:
        report = replace(
            self._report,
            findings=tuple(self._describe(finding, span) for finding, span in self._spans),
            episodes=tuple(self._list_episodes()),
            history_note=" ".join(self._list_notes()) or None,
            last_sound=self._named[self._timeline.last_sound] if self._timeline.last_sound else None,
        )
        past = Past(
            self._list_origins(),
            # Whatever was there at the boundary of a shallow clone is older than all that it shows.
            {key: -1 if one.added in self._timeline.edge else one.added for key, one in self._versions.items()},
            {
                (finding.code, finding.revisions): span.heads
                for finding, span in self._spans
                if span and span.began not in self._timeline.edge
            },
            dict(self._list_removed()),
            {key: tuple(value for _, value in reversed(values)) for key, values in self._timeline.values.items()},
            dict(self._list_loadable_values()),
        )
        return report, past

    def _is_known(self, number: int) -> bool:
        """Whether the number is a real commit: not the working tree, nor the boundary of a shallow clone."""
        return number < len(self._timeline.commits) and number not in self._timeline.edge

    def _describe(self, finding: Finding, span: Span | None) -> Finding:
        if span is None or span.began in self._timeline.edge:
            return finding
        return replace(
            finding, introduced_by=self._commits.get(span.began), edit=_choose_edit(self._report.graph, finding, span)
        )

    def _list_episodes(self) -> Iterator[Episode]:
        for span in sorted(self._timeline.spans, key=lambda span: span.began, reverse=True):
            began = self._commits.get(span.began)
            if span.finding.severity is not Severity.ERROR or began is None:
                continue
            # If only the working tree fixes it, it is still open in the commits.
            ended = None if span.ended is None else self._commits.get(span.ended)
            yield Episode(span.finding.code, span.finding.message, began, ended, tuple(span.edits.values()))

    def _list_notes(self) -> Iterator[str]:
        if self._is_shallow:
            yield "The clone is shallow: nothing before its first commit is known (git fetch --unshallow)."
        if names := self._timeline.uncommitted:
            shown = ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")
            yield f"Uncommitted changes: {shown}."

    def _list_loadable_values(self) -> Iterator[tuple[Key, tuple[str, ...]]]:
        last = self._timeline.last_loadable
        for key, values in self._timeline.values.items() if last >= 0 else ():
            later = [value for number, value in values if number > last]
            if later:
                yield key, later[0]

    def _list_removed(self) -> Iterator[tuple[str, Removed]]:
        for name, removal in self._removals.items():
            if removal.version.known is not None:
                file = replace(removal.version.file, node=removal.version.known)
                successor = removal.successor.known.name if removal.successor and removal.successor.known else None
                yield name, Removed(self._commits.get(removal.commit), file, successor)

    def _list_loop_edges(self) -> Iterator[tuple[Span, Version, str, Origin]]:
        """Each reference between two revisions of a loop, with the span of the loop."""
        for span, members in self._loops:
            for node in self._report.graph.nodes.values():
                version = self._versions.get(node.key)
                if version is None or node.name not in members:
                    continue
                for (_, parent), origin in version.origins.items():
                    if parent in members:
                        yield span, version, parent, origin

    def _list_origins(self) -> EdgeOrigins:
        added: dict[str, int] = {}
        for version in self._versions.values():
            if version.known:
                added[version.known.name] = min(version.added, added.get(version.known.name, version.added))
        origins = {}
        for span, version, parent, origin in self._list_loop_edges():
            if version.known is None or origin.commit in self._timeline.edge:
                continue
            fresh = span.fresh.get(version.known.name)
            # An edge that was later redirected within the loop is just as suspect.
            is_fresh = fresh is not None and (parent in fresh.parents or origin.commit > span.began)
            origins[version.known.key, parent] = EdgeOrigin(
                self._commits.get(origin.commit),
                fresh.before if fresh and is_fresh else origin.before,
                fresh.blame if fresh and is_fresh else 0,
                origin.commit > span.began,
                added.get(parent, 0) > version.added,
            )
        return origins


def _list_removals(graph: Graph, removals: Mapping[str, Removal]) -> dict[str, Removal]:
    """The removals of the revisions that the graph lacks, and of those that these would lack in their turn."""
    known = {node.name for node in graph.nodes.values()}
    pending = [one.name for references in graph.dangling.values() for one in references]
    found: dict[str, Removal] = {}
    while pending:
        name = pending.pop()
        if name in removals and name not in found and name not in known:
            found[name] = removals[name]
            node = removals[name].version.known
            pending += [reference.name for reference in node.references] if node else []
    return found


def _choose_edit(graph: Graph, finding: Finding, span: Span) -> Edit | None:
    """The edit that caused the finding: one of its own revisions, or for heads and bases any edit of the commit.

    Only an edit that is still in the file: what has been changed again since cannot be undone. For a loop, the ranking
    of its cuts decides.
    """
    if finding.code == "MG101":
        return None
    keys = index_by_name(graph.nodes)
    present = {
        name: found
        for name, edit in span.edits.items()
        if (found := _find_present(graph, [graph.nodes[key] for key in keys.get(name, ())], edit))
    }
    own = [present[name] for name in finding.revisions if name in present]
    return next(iter(own or (present.values() if finding.code in ("MG201", "MG202") else ())), None)


def _find_present(graph: Graph, nodes: Iterable[Node], edit: Edit) -> Edit | None:
    """The edit with the file and line of its value now; None: the file has another value."""
    for node in nodes:
        names = read_names(node, edit.role)
        if names is not None and format_value(names, graph.kind) == edit.after:
            return replace(edit, file=node.key, line=node.find_line(edit.role))
    return None
