"""What the repository of the audited files knows: the commit that brought each finding, and what came and went.

The working tree counts as one more commit, without a name: what is not committed yet has `introduced_by` None, its
`edit` where there is one, and `history_note` says so. The history never decides whether a graph is sound.
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

TIME_LIMIT_SECONDS = 60.0
_MAX_NAMES = 3


def trace(report: Report, layout: Layout, *, seconds: float = TIME_LIMIT_SECONDS) -> tuple[Report, EdgeOrigins]:
    """The report with `introduced_by`, `edit`, `episodes` and `history_note`; and how each edge of a loop came about.

    The latter is for `golive.migration_graph.remedies.ranking.rank_remedies`. Where the history cannot be read the note
    says why, and all else stays as it was.
    """
    try:
        repository = Repository(layout.root, seconds=seconds)
        timeline = read_timeline(report, layout, repository)
        return _Story(report, timeline, repository).tell()
    except HistoryUnavailableError as error:
        return replace(report, history_note=f"No history: {error}."), {}


class _Story:
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

    def tell(self) -> tuple[Report, EdgeOrigins]:
        findings = tuple(self._describe(finding, span) for finding, span in self._spans)
        report = replace(self._report, findings=findings, episodes=tuple(self._list_episodes()))
        return replace(report, history_note=" ".join(self._list_notes()) or None), self._list_origins()

    def _is_known(self, number: int) -> bool:
        """Is it a commit, and not the working tree, or the edge of a shallow clone that stands for all before it?"""
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
            # One that only the working tree mends stands as far as the commits go.
            ended = None if span.ended is None else self._commits.get(span.ended)
            yield Episode(span.finding.code, span.finding.message, began, ended, tuple(span.edits.values()))

    def _list_notes(self) -> Iterator[str]:
        if self._is_shallow:
            yield "The clone is shallow: what is older than its first commit cannot be told (git fetch --unshallow)."
        if names := self._timeline.uncommitted:
            shown = ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")
            yield f"Not committed as it stands: {shown}."

    def _list_loop_edges(self) -> Iterator[tuple[Span, Version, str, Origin]]:
        """Each reference from one revision of a loop to another, with the span of the loop."""
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
            # An edge that was pointed elsewhere inside the loop later on is no less to blame.
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
    """The edit that made the finding: of the revision that it is about, or for heads and bases any.

    Which edit made a loop is for the ranking of its cuts to say.
    """
    if finding.code == "MG101":
        return None
    for name in finding.revisions:
        if name in span.edits:
            edit = span.edits[name]
            node = graph.nodes.get(finding.file or "")
            # Where it stands today, if the finding points there.
            return replace(edit, file=node.key, line=finding.line or edit.line) if node and node.name == name else edit
    return next(iter(span.edits.values()), None) if finding.code in ("MG201", "MG202") else None
