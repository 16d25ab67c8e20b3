"""What went in, where the time went, and the artifacts that every figure came from."""

from __future__ import annotations

import json
from typing import Final

from parley.reports.figures import count, duration, moment
from parley.reports.html import Html, anchor, join, origin, tag
from parley.reports.tables import Section, note, row, sources, table
from parley.reports.values import Record, RunReport

HELD_OUT: Final = " held out"


def data_section(report: RunReport) -> Section | None:
    """Counts of the data; what was left out of files and why stands in the section behind this one."""
    data = report.record("data")
    if data is None:
        return None
    kinds = [key for key in data.figures if key + HELD_OUT in data.figures]
    rows = [
        row(kind, [tag("td", count(data.figures.get(key, 0)), class_="n") for key in (kind, kind + HELD_OUT)])
        for kind in kinds
    ]
    for item in report.starting("rank"):
        rows.append(row((origin(item.directory, item.label), ": rankings"), _collected(item)))
    counts = table("What was told and collected", ["", "to learn from", "held out"], rows, numeric=True)
    return Section("data", "Data", join(counts, sources([data, *report.starting("rank")])))


def _collected(record: Record) -> list[Html]:
    told = count(record.figures.get("rankings", 0))
    pairs = record.figures.get("pairs")
    small = tag("small", f" {count(pairs)} pairs") if pairs is not None else ""
    return [tag("td", told, small, class_="n"), tag("td", "", class_="n")]


def time_section(report: RunReport) -> Section | None:
    """Seconds of each stage as bars."""
    spent = [item for item in report.records if item.seconds >= 0.05]
    if not spent:
        return None
    longest, total = max(item.seconds for item in spent), sum(item.seconds for item in spent)
    rows = [
        row(
            origin(item.directory, item.label),
            [
                tag("td", duration(item.seconds), class_="n"),
                tag("td", f"{100 * item.seconds / total:.1f}", class_="n"),
                tag(
                    "td",
                    tag("span", class_="time", style=f"--high:{100 * item.seconds / longest:.1f}%"),
                    class_="wide",
                ),
            ],
        )
        for item in spent
    ]
    rows.append(
        row("together", [tag("td", duration(total), class_="n"), tag("td", ""), tag("td", "")], total=True)
    )
    machine = ", ".join(f"{key} {value}" for key, value in report.plan.items())
    small = note(
        "A stage that was broken off and went on counts from where it was taken up again. ",
        f"Numeric plan: {machine}." if machine else "",
    )
    caption = ("Time ", tag("small", "from each stage’s manifest"))
    return Section(
        "time", "Where the time went", join(table(caption, ["stage", "time", "%", ""], rows), small)
    )


def artifacts_section(report: RunReport) -> Section:
    """Every sealed directory that this page was rendered from."""
    rows = [_artifact_row(item, report) for item in report.records]
    small = []
    if report.unfinished:
        small.append(note("Not finished, so not shown: ", ", ".join(report.unfinished), "."))
    if report.set_aside:
        small.append(
            note("Of another recipe or an earlier start, so not shown: ", ", ".join(report.set_aside), ".")
        )
    caption = ("Artifacts ", tag("small", "directories of the run, each with its manifest.json"))
    heads = ["directory", "content digest", "finished", "made with"]
    return Section(
        "artifacts",
        "Where every number came from",
        join(table(caption, heads, rows, class_="artifacts"), small),
    )


def _artifact_row(record: Record, report: RunReport) -> Html:
    names = {item.digest: item for item in report.records}
    parents = [names[digest] for digest in record.inputs if digest in names]
    made_of = [
        (" ← " if n == 0 else ", ", origin(item.directory, item.label)) for n, item in enumerate(parents)
    ]
    cells = [
        tag("td", tag("span", record.digest[:12], class_="digest", title=record.digest)),
        tag("td", moment(record.finished), tag("br"), tag("small", "commit ", short_commit(record.commit))),
        tag("td", _made_with(record)),
    ]
    title = tag(
        "th", tag("code", record.directory), tag("br"), tag("small", record.kind, made_of), scope="row"
    )
    return tag("tr", title, cells, id=anchor(record.directory))


def short_commit(commit: str) -> str:
    """The first figures of a commit, marked where files differed from it; outside a checkout there is none."""
    name, _, changed = commit.partition("-")
    is_hash = len(name) >= 12 and all(c in "0123456789abcdef" for c in name)
    return f"{name[:12]}{' + changes' if changed else ''}" if is_hash else "not recorded"


def _made_with(record: Record) -> Html:
    if not record.made_with:
        return join()
    written = "\n".join(f"{name}: {_settings(value)}" for name, value in record.made_with.items())
    return tag("details", tag("summary", ", ".join(record.made_with)), tag("pre", written), class_="made")


def _settings(value: str) -> str:
    found = json.loads(value)
    if not isinstance(found, dict):
        return str(found)
    return ", ".join(f"{key} {json.dumps(item, ensure_ascii=False)}" for key, item in found.items())
