"""The two sections of the Markdown report that can be sent as they are: for stakeholders and for developers.

The first uses no term that only developers know, and says of the running service only what the audit can know: it reads
files, and a service that runs does not read them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from golive.migration_graph.model import Action, Commit, Finding, Headline, Report, Severity
from golive.migration_graph.reports.markdown_text import describe_commit, escape, quote, quote_place
from golive.migration_graph.reports.offer import (
    MAX_COMMAND_LENGTH,
    Offer,
    describe_cut,
    describe_replaced,
    find_offer,
    get_verb,
    get_written,
)
from golive.migration_graph.reports.words import NO_SINGLE_EDIT, count, describe_not_read, name_edge

MAX_PLACES: Final = 20
MAX_CUTS: Final = 5
_STEPS: Final = {
    Action.RESTORE: "A developer puts back what stood in {files} before",
    Action.BRING_BACK: "A developer brings a deleted file back",
    Action.REID: "A developer gives one of two files of the same name another one",
    Action.MERGE: "A developer joins the parallel lines of changes",
}


def write_summary(report: Report) -> Iterator[str]:
    if report.sound:
        yield from _write_sound(report)
        return
    offer = find_offer(report)
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    # New ones come first.
    main = offer.finding if offer is not None else errors[0]
    yield from _write_for_stakeholders(report, errors, main, offer)
    yield from _write_for_developers(report, errors, main, offer)


def _write_sound(report: Report) -> Iterator[str]:
    whole = "" if report.not_read else ", and all that the tool loads was read"
    database = " No database was compared." if report.pending is None else ""
    yield ""
    yield "## In short"
    yield ""
    yield f"The migrations are in order: no error was found{whole}. Nothing here holds up a deploy.{database}"
    yield from _write_not_read(report)


def _write_for_stakeholders(report: Report, errors: list[Finding], main: Finding, offer: Offer | None) -> Iterator[str]:
    yield ""
    yield "## For stakeholders"
    yield ""
    if report.has_new_errors:
        yield "**Deploys that change the database are blocked. As far as this goes, the running service is stable.**"
    else:
        yield "**Nothing new: deploys that change the database wait, as was known before.**"
    yield "Errors were found in the files that describe changes of the database (migrations). A service that runs does"
    yield "not read them. Nothing but these files was looked at: whether the service is well is not said here."
    yield ""
    yield "- **What waits**: every deploy that changes the database, and every restart of a service that applies such"
    yield "  changes as it starts."
    yield f"- **Why**: {_describe_cause(report, errors, main)}"
    yield f"- **Since when**: {_describe_since(main.introduced_by)}"
    yield f"- **What happens next**: {_describe_next(offer)}"
    yield "- **Who acts**: the developers. Until they report that it is repaired, please do not edit migrations, do not"
    yield "  start such a deploy, and do not restart such a service."
    if any(error.code.startswith("MG3") for error in errors):
        yield "- **Not known**: a database does not agree with the files. The developers have to check whether the"
        yield "  service that uses it is affected."


def _describe_cause(report: Report, errors: list[Finding], main: Finding) -> str:
    if main.affected is not None:
        return f"{main.affected:,} of {count(report.revisions, 'migration')} cannot be put in order any more."
    return f"{count(len(errors), 'error')} in {count(report.revisions, 'migration')}."


def _describe_since(commit: Commit | None) -> str:
    return "not known." if commit is None else f"{describe_commit(commit)}."


def _describe_next(offer: Offer | None) -> str:
    if offer is None:
        return "a developer looks into it: there is no single edit that would repair it."
    headline = offer.headline
    if headline is None:
        return f"a developer who knows the changes decides which of {offer.ties} edits was wrong."
    files = count(len({edit.file for edit in headline.edits}), "file")
    step = _STEPS[headline.action].format(files=files)
    result = "the migrations are in order again" if headline.is_sound else "other errors are left to be repaired"
    return f"{step[0].lower()}{step[1:]}; then {result}."


def _write_for_developers(report: Report, errors: list[Finding], main: Finding, offer: Offer | None) -> Iterator[str]:
    yield ""
    yield "## For developers"
    yield ""
    yield from _write_edit(offer)
    if offer is not None and offer.outcome:
        yield f"- **Then**: {escape(offer.outcome)}."
    if offer is not None and offer.because:
        yield f"- **Why this one**: {'; '.join(escape(reason) for reason in offer.because)}."
    yield f"- **Broken since**: {_describe_since(main.introduced_by)}"
    if report.last_sound is not None:
        yield f"- **Last sound**: {describe_commit(report.last_sound)}."
    yield f"- **Commands**: {_describe_commands(report, main)}"
    yield "- **Do not edit** anything else in these files: each further edit hides where the first one was."
    yield "- **Files and lines**:"
    for error in errors[:MAX_PLACES]:
        place = f"{quote_place(error.file, error.line)}: " if error.file is not None else ""
        yield f"  - {place}{error.code} {escape(error.name)}{' (known)' if error.is_known else ''}"
    if len(errors) > MAX_PLACES:
        yield f"  - And {len(errors) - MAX_PLACES:,} more, below."
    yield from _write_not_read(report)


def _write_edit(offer: Offer | None) -> Iterator[str]:
    if offer is None:
        yield f"- **Edit**: {NO_SINGLE_EDIT}"
    elif offer.headline is None:
        yield f"- **Edit**: one of {offer.ties}, which nothing tells apart. Ask who knows:"
        for cut in offer.tied[:MAX_CUTS]:
            edges = (f"{quote(name_edge(edge))} ({quote_place(edge.file, edge.line)})" for edge in cut.edges)
            yield f"  - take out {describe_cut(cut, edges, quote)}"
        if offer.ties > MAX_CUTS:
            yield f"  - And {offer.ties - MAX_CUTS} more, below."
    elif offer.headline.command is not None:
        yield f"- **Run**: {quote(offer.headline.command, MAX_COMMAND_LENGTH)}"
    else:
        yield f"- **Edit**: {_describe_edits(offer.headline)}"


def _describe_edits(headline: Headline) -> str:
    edits = (
        f"In {quote_place(edit.file, edit.line)}, {get_verb(headline)} {quote(get_written(edit))}"
        f"{describe_replaced(edit, quote)}"
        for edit in headline.edits
    )
    return f"{'; '.join(edits)}."


def _describe_commands(report: Report, main: Finding) -> str:
    audit = quote(f"golive-audit {shlex.quote(report.path)}", MAX_COMMAND_LENGTH)
    show = f"{quote(f'git show {main.introduced_by.commit[:12]}')} for the commit; " if main.introduced_by else ""
    return f"{show}{audit} (or `manage.py audit_migrations`) after the edit; deploy nothing before its exit code is 0."


def _write_not_read(report: Report) -> Iterator[str]:
    if sentences := describe_not_read(report):
        yield ""
        yield " ".join(sentences)
    if report.not_read:
        yield ""
    for each in report.not_read[:MAX_PLACES]:
        yield f"- {quote(each.path)} ({count(each.files, 'file')}): {escape(each.why)}."
    if len(report.not_read) > MAX_PLACES:
        yield f"- And {len(report.not_read) - MAX_PLACES:,} more."
