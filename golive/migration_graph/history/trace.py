"""Annotate a report with the git history: the commit that introduced each finding, and all past episodes.

The working tree counts as one more, unnamed commit: an uncommitted finding has `introduced_by` None and its `edit`, if
any, and `history_note` says so. The history never affects whether a graph is sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from golive.migration_graph.discovery.sources import Layout
from golive.migration_graph.history.edge_origins import EdgeOrigin, EdgeOrigins
from golive.migration_graph.history.git import HistoryUnavailableError, Repository
from golive.migration_graph.history.replay import Span, name_defect
from golive.migration_graph.history.timeline import Timeline, read_timeline
from golive.migration_graph.history.versions import Origin, Version
from golive.migration_graph.model import Edit, Episode, Finding, Graph, Report, Severity

MAX_SECONDS = 60.0
_MAX_NAMES = 3


def trace(report: Report, layout: Layout, *, seconds: float = MAX_SECONDS) -> tuple[Report, EdgeOrigins]:
    """The report with `introduced_by`, `edit`, `episodes` and `history_note`; and the origin of each edge of a loop.

    The origins are for `golive.migration_graph.remedies.ranking.rank_remedies`. If the history cannot be read, the note
    says why and the rest of the report is unchanged.
    """
    try:
        repository = Repository(layout.root, seconds=seconds)
        timeline = read_timeline(report, layout, repository)
        return _Tracer(report, timeline, repository).trace()
    except HistoryUnavailableError as error:
        return replace(report, history_note=f"No history: {error}."), {}


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
        known = [number for number in numbers if number is not None and self._is_known(number)]
        named = repository.describe(timeline.commits[number] for number in sorted(known))
        self._commits = {number: named[timeline.commits[number]] for number in known}

    def trace(self) -> tuple[Report, EdgeOrigins]:
        findings = tuple(self._describe(finding, span) for finding, span in self._spans)
        report = replace(self._report, findings=findings, episodes=tuple(self._list_episodes()))
        return replace(report, history_note=" ".join(self._list_notes()) or None), self._list_origins()

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


def _choose_edit(graph: Graph, finding: Finding, span: Span) -> Edit | None:
    """The edit that caused the finding: one of its own revisions, or for heads and bases any edit of the commit.

    For a loop, the ranking of its cuts decides.
    """
    if finding.code == "MG101":
        return None
    for name in finding.revisions:
        if name in span.edits:
            edit = span.edits[name]
            node = graph.nodes.get(finding.file or "")
            # Report its current line if the finding points to that file.
            return replace(edit, file=node.key, line=finding.line or edit.line) if node and node.name == name else edit
    return next(iter(span.edits.values()), None) if finding.code in ("MG201", "MG202") else None
