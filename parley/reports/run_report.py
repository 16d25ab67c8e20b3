"""The report of a run: one page from the artifacts of its directory.

`collect` reads, `render` writes; the same artifacts always give the same bytes. Each module beside
this one holds the sections of one subject, and a section without figures is not there.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from parley.artifacts import write_atomically
from parley.reports.collect import collect
from parley.reports.curves import curves_section, optimisation_section
from parley.reports.figures import duration, moment
from parley.reports.gain import gain_section
from parley.reports.html import Child, Html, join, origin, tag
from parley.reports.hygiene import hygiene_section
from parley.reports.ladder import behaviours_section, gold_section, rates_section
from parley.reports.lineage import artifacts_section, data_section, short_commit, time_section
from parley.reports.look import page
from parley.reports.memory import memory_section
from parley.reports.probes import accuracy_section, cue_section, wordings_section
from parley.reports.reward import reward_section
from parley.reports.samples import samples_section
from parley.reports.tables import Section
from parley.reports.transcripts import transcripts_section
from parley.reports.values import RunReport
from parley.reports.verdict import verdict
from parley.reports.words import words_section

__all__ = ["collect", "render", "write_report"]

SECTIONS: Final = (
    gold_section,
    words_section,
    gain_section,
    behaviours_section,
    rates_section,
    cue_section,
    wordings_section,
    optimisation_section,
    accuracy_section,
    reward_section,
    memory_section,
    curves_section,
    samples_section,
    transcripts_section,
    data_section,
    hygiene_section,
    time_section,
    artifacts_section,
)


def write_report(run_directory: Path, path: Path, *, only: Collection[str] = ()) -> RunReport:
    """Render a run's report into a file; what it was rendered from. `only` names the artifact
    directories to take, where a recipe that was changed left others beside them."""
    report = collect(run_directory, only=only)
    write_atomically(path, render(report))
    return report


def render(report: RunReport) -> str:
    """The page."""
    sections = [found for make in SECTIONS if (found := make(report))]
    body = join(
        _heading(report), verdict(report), _contents(sections), (section.html for section in sections)
    )
    return page(f"{report.recipe}: report of a run", body)


def _heading(report: RunReport) -> Html:
    data = report.record("data")
    commits = dict.fromkeys(short_commit(item.commit) for item in report.records)
    facts: list[tuple[str, Child]] = [
        ("seed", ", ".join(map(str, sorted({item.seed for item in report.records})))),
        ("data", _digest(data.directory, data.digest) if data else "–"),
        ("commit", ", ".join(commits)),
        ("finished", moment(max(item.finished for item in report.records))),
        ("time at work", duration(sum(item.seconds for item in report.records))),
    ]
    listed = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    over = tag("p", "Report of a run", class_="over")
    return tag("header", over, tag("h1", report.recipe), tag("dl", listed, class_="facts"))


def _digest(directory: str, digest: str) -> Html:
    return origin(directory, tag("span", digest[:12], class_="digest"))


def _contents(sections: list[Section]) -> Html:
    items = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ol", items), aria_label="Contents")
