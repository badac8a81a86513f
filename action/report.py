"""The GitHub Action of action.yml: audits, annotates, and says in one comment and in the summary what to edit.

Standard library of Python 3.9 or newer. Runs the audit of the checkout that it lies in, in isolated mode, so that
nothing of the audited repository is imported. Without the right to comment, as for a pull request of a fork, there is
the summary alone. The exit code is the audit's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

AUDIT = Path(__file__).resolve().parent.parent / "golive" / "migration_graph" / "__main__.py"
SOUND, UNUSABLE = 0, 2
MAX_FINDINGS = 10
MAX_LENGTH = 60_000  # GitHub refuses a comment of more than 65,536 characters
MAX_PAGES = 20
SECONDS = 20
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def main(environment: Mapping[str, str]) -> int:
    path = environment.get("AUDIT_PATH") or "."
    code, text = audit(path, shlex.split(environment.get("AUDIT_ARGUMENTS", "")))
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        with open(summary, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(text)
    if environment.get("AUDIT_COMMENT", "true") == "true":
        comment(environment, make_marker(path), text, is_sound=code == SOUND)
    return code


def audit(path: str, arguments: list[str]) -> tuple[int, str]:
    """Annotate, and return the exit code and the text for people."""
    annotated = _run("github", path, arguments)
    print(annotated.stdout, end="", flush=True)
    described = _run("json", path, arguments)
    if described.returncode not in (SOUND, 1):
        problem = described.stderr.strip().partition("\n")[0]
        print(f"::error::{problem.replace('%', '%25')}", flush=True)
        return described.returncode, f"### Migrations in {quote(path)} cannot be audited\n\n{quote(problem)}\n"
    return described.returncode, "\n".join(describe(json.loads(described.stdout), path))[:MAX_LENGTH] + "\n"


def _run(form: str, path: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    # The token is nobody's business there.
    environment = {name: value for name, value in os.environ.items() if name != "AUDIT_TOKEN"}
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-I", str(AUDIT), "--history", "--format", form, *arguments, "--", path],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def describe(report: Mapping[str, Any], path: str) -> Iterator[str]:
    """The report in Markdown: the edit first. Whatever comes from the repository stands in code spans."""
    errors = [finding for finding in report["findings"] if finding["severity"] == "error"]
    if report["sound"]:
        yield f"### Migrations in {quote(path)}: sound"
        return
    yield f"### Migrations in {quote(path)}: {'1 error' if len(errors) == 1 else f'{len(errors)} errors'}"
    yield ""
    yield from _describe_remedy(report, errors)
    yield ""
    for finding in errors[:MAX_FINDINGS]:
        yield f"- {_describe_place(finding)}**{finding['code']} {finding['name']}**: {quote(finding['message'])}"
        if commit := finding.get("introduced_by"):
            yield f"  - since {quote(commit['commit'][:12])} {quote(commit['subject'])} ({quote(commit['date'])})"
    if len(errors) > MAX_FINDINGS:
        yield f"- and {len(errors) - MAX_FINDINGS} more"
    if note := report.get("history_note"):
        yield ""
        yield f"The history was not read in full: {quote(note)}"


def _describe_remedy(report: Mapping[str, Any], errors: list[Any]) -> Iterator[str]:
    headline = report.get("headline") or {}
    edits, command = headline.get("edits") or (), headline.get("command")
    for edit in edits:
        before = f" in place of {quote(edit['before'])}" if edit.get("before") is not None else ""
        yield f"**Edit** {_describe_place(edit)}write {quote(str(edit.get('after')))}{before}."
    if command:
        yield f"**Run** {quote(command)}"
    if errors and not edits and not command:
        yield f"**Next**: {_describe_place(errors[0])}{quote(errors[0]['hint'])}"


def _describe_place(thing: Mapping[str, Any]) -> str:
    if not thing.get("file"):
        return ""
    line = f":{thing['line']}" if thing.get("line") else ""
    return f"{quote(thing['file'] + line)}: "


def quote(text: str) -> str:
    """A code span that holds any text, on one line: nothing in it is markup, a mention or an image."""
    shown = _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown or ' '}{fence}"


# -- the comment -------------------------------------------------------------------------------------------------------


def make_marker(path: str) -> str:
    """What the comment of this action begins with, one for each audited path. It is not shown."""
    return f"<!-- valhalla-go-live audit {json.dumps(path).replace('-', '%2D')} -->"


def comment(environment: Mapping[str, str], marker: str, text: str, *, is_sound: bool) -> None:
    """Write the comment, in place of the one of an earlier run. Where all is sound, none is begun."""
    number = _find_pull_request(environment.get("GITHUB_EVENT_PATH"))
    token = environment.get("AUDIT_TOKEN")
    if number is None or not token:
        return
    api = f"{environment['GITHUB_API_URL']}/repos/{environment['GITHUB_REPOSITORY']}/issues"
    try:
        earlier = _find_comment(f"{api}/{number}/comments", marker, token)
        if earlier is not None:
            _ask("PATCH", f"{api}/comments/{earlier}", token, {"body": f"{marker}\n{text}"})
        elif not is_sound:
            _ask("POST", f"{api}/{number}/comments", token, {"body": f"{marker}\n{text}"})
    except (OSError, ValueError) as error:
        # A fork's token may only read. The summary says the same.
        print(f"No comment was written ({error}); the summary of the run has it.", flush=True)


def _find_pull_request(event: str | None) -> int | None:
    if not event:
        return None
    number = json.loads(Path(event).read_text(encoding="utf-8")).get("pull_request", {}).get("number")
    return number if isinstance(number, int) else None


def _find_comment(url: str, marker: str, token: str) -> int | None:
    """The comment of an earlier run. People may quote it, so it has to be a program's."""
    for page in range(1, MAX_PAGES + 1):
        comments = _ask("GET", f"{url}?per_page=100&page={page}", token)
        for each in comments:
            if (each.get("body") or "").startswith(marker) and (each.get("user") or {}).get("type") == "Bot":
                return int(each["id"])
        if len(comments) < 100:
            return None
    return None


def _ask(method: str, url: str, token: str, body: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, method=method, data=json.dumps(body).encode() if body else None)  # noqa: S310
    request.add_header("Accept", "application/vnd.github+json")
    request.add_header("Content-Type", "application/json")
    # Not for whom the server may redirect to.
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=SECONDS) as response:  # noqa: S310 - the address is the runner's
        return json.loads(response.read())


if __name__ == "__main__":
    sys.exit(main(os.environ))
