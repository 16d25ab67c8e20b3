"""The data page: what came in, what was left out and why, the mix, private details, and rows as they are learnt
from. Texts are people's, whatever they say: they are shown as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from parley.evals.statistics import wilson
from parley.reports.figures import THIN, count, many, number, percent, points
from parley.reports.html import Child, Html, join, tag
from parley.reports.tables import Section, note, rate_cell, row, sources, table
from parley.reports.values import RunReport
from parley.stages.hygiene.findings import Example, FileFindings, Findings, Left, Part, Recall

SPEAKERS: Final = {"user": "user", "assistant": "answer", "system": "system", "": ""}
NOTHING: Final = "–"
NAMED: Final = 12  # people that the page names
SHOWN_DETAILS: Final = 6  # private ones of a kind
SHOWN_PLACES: Final = 4  # rows of one reason; `hygiene.json` names more
KINDS: Final = {"rejected": "at fault", "dropped": "left out"}


def hygiene_section(report: RunReport) -> Section | None:
    """Everything that hygiene found in files of people's words."""
    found, data = report.hygiene, report.record("data")
    if found is None or data is None:
        return None
    body = join(
        tag("p", _summary(found)),
        _files(found.files),
        _left_out(found.files),
        _unsafe(found.files),
        _mix(found.mix),
        _private(found),
        _people(found),
        sources([data]),
        _examples(found.files),
    )
    return Section("people", "What people’s files held", body)


def _summary(found: Findings) -> str:
    read = sum(item.records for item in found.files)
    learnt, apart = (sum(getattr(item, key) for item in found.files) for key in ("train", "held_out"))
    return (
        f"{many(len(found.files), 'file')} told {count(read)} records. {count(found.rejected)} were at fault, "
        f"{count(found.dropped)} were left out for another reason, {count(learnt)} are learnt from, and "
        f"{count(apart)} are held out. {count(found.private)} private details were found."
    )


def _files(files: Sequence[FileFindings]) -> Html:
    heads: list[Child] = ["file", "lines", "records", "at fault", "left out", "learnt from", "held out"]
    heads += ["turns", "words"]
    rows = [
        row(
            _name(item),
            [
                _number(item.rows),
                _number(item.records),
                _number(_total(item.rejected)),
                _number(_total(item.dropped)),
                _number(item.train),
                tag("td", count(item.held_out), _by_people(item), class_="n"),
                _spread(item.lengths.turns),
                _spread(item.lengths.words),
            ],
        )
        for item in files
    ]
    caption = "What came in ", tag("small", "turns and words of a record: 10 % are below, half are, 90 % are")
    return table(caption, heads, rows, numeric=True)


def _by_people(item: FileFindings) -> Child:
    theirs = item.held_out_people
    return tag("small", f" {count(theirs)} by held-out people") if theirs else ""


def _spread(quantiles: Sequence[int]) -> Html:
    shown = (count(value) if value < 10_000 else f"{count(value / 1000)}k" for value in quantiles[1:4])
    return tag("td", " · ".join(shown) or NOTHING, class_="n")


def _left_out(files: Sequence[FileFindings]) -> Html:
    rows = [line for item in files for line in _reasons(item)]
    if not rows:
        return note("Nothing was at fault and nothing was left out.")
    heads: list[Child] = ["file", "", "records", "reason"]
    return table("What was left out, and why", heads, rows)


def _reasons(item: FileFindings) -> list[Html]:
    """A row a reason, under one name of the file."""
    every = [(kind, left) for kind in ("rejected", "dropped") for left in getattr(item, kind)]
    name = tag("th", _name(item), scope="rowgroup", rowspan=len(every))
    return [
        tag(
            "tr",
            name if n == 0 else "",
            tag("td", KINDS[kind], class_="kind"),
            _number(left.count),
            _reason(left),
        )
        for n, (kind, left) in enumerate(every)
    ]


def _unsafe(files: Sequence[FileFindings]) -> Html:
    rows = [
        row(_name(item), [tag("td", left.reason), _number(left.count), _reason_places(left)])
        for item in files
        for left in item.unsafe
    ]
    if not rows:
        return note("The moderation rules found no unsafe answer in dialogues or rankings.")
    heads: list[Child] = ["file", "category", "records", "where"]
    small = note(
        "Answers that would be imitated, and ranked replies. The rules know no context; a ranking teaches what is "
        "worse too, so that its replies may well be unsafe."
    )
    return join(table("Unsafe answers by the moderation rules", heads, rows), small)


def _reason_places(left: Left) -> Html:
    return tag("td", tag("small", "; ".join(left.places[:SHOWN_PLACES]), _more(left)), class_="reason")


def _name(item: FileFindings) -> Child:
    return _broken(item.file), tag("small", f" {item.section}")


def _broken(file: str) -> str:
    """The path, which may be broken behind a directory."""
    return file.replace("/", "/\u200b")


def _reason(left: Left) -> Html:
    places = tag("small", "; ".join(left.places[:SHOWN_PLACES]), _more(left))
    return tag("td", left.reason, tag("br"), places, class_="reason")


def _more(left: Left) -> str:
    return " …" if left.count > min(SHOWN_PLACES, len(left.places)) else ""


def _mix(parts: Sequence[Part]) -> Html:
    return join(_section_mix(section, parts) for section in dict.fromkeys(part.section for part in parts))


def _section_mix(section: str, parts: Sequence[Part]) -> Html:
    own = [part for part in parts if part.section == section]
    if len(own) < 2:
        return join()
    unit = "characters of imitated turns" if section == "dialogues" else "characters"
    caption = f"The mix of {section} ", tag("small", unit)
    heads: list[Child] = ["file", "there", "used", "times", "wanted", "off by", "share"]
    return table(caption, heads, [_part_row(part) for part in own], numeric=True)


def _part_row(part: Part) -> Html:
    wanted = part.wanted
    return row(
        _broken(part.file),
        [
            _number(part.available),
            _number(part.used),
            tag("td", number(part.repeats), class_="n"),
            tag("td", percent(wanted) if wanted is not None else NOTHING, class_="n"),
            tag("td", points(part.achieved - wanted) if wanted is not None else NOTHING, class_="n"),
            _share(part.achieved),
        ],
    )


def _share(share: float) -> Html:
    width = f"{100 * share:.1f}%"
    inside = tag("b", percent(share))
    return tag("td", tag("span", inside, class_="bar", style=f"--low:{width};--high:{width}"))


def _private(found: Findings) -> Html:
    rows = [_recall_row(item, found.files) for item in found.recall]
    if not rows:
        return join()
    heads: list[Child] = [
        "kind",
        "planted ones found",
        "in the rows",
        f"per 1{THIN}000 rows",
        "as they were found",
    ]
    small = note(
        "Planted: details that nobody has, put into copies of rows of the training part. How many of those "
        "found in the rows themselves are not private, only people can say: the last column shows some between "
        "the words around them, their own letters as x and digits as 0. Names are not looked for."
    )
    return join(table("Private details in the training part", heads, rows), small)


def _recall_row(item: Recall, files: Sequence[FileFindings]) -> Html:
    in_rows = sum(file.private.get(item.kind, 0) for file in files)
    seen = [one for file in files for one in file.private_seen.get(item.kind, ())][:SHOWN_DETAILS]
    return row(
        item.kind,
        [
            rate_cell(wilson(item.found, item.planted), with_n=True),
            _number(in_rows),
            tag("td", number(1000 * in_rows / max(1, sum(file.train for file in files)), 1), class_="n"),
            tag("td", [tag("div", tag("bdi", one, dir="auto")) for one in seen] or NOTHING, class_="seen"),
        ],
    )


def _people(found: Findings) -> Html:
    named, out = found.people.named, found.people.held_out
    if not named:
        return note("The files name no author, so nobody can be held out.")
    who = ", ".join(out[:NAMED]) + (" …" if len(out) > NAMED else "")
    held = f"of whom {len(out)} are held out: {who}." if out else "of whom nobody is held out."
    return note(f"The files name {many(named, 'author')} of prompts, dialogues and rankings, ", held)


def _examples(files: Sequence[FileFindings]) -> Html:
    blocks = [_of_file(item) for item in files if item.examples]
    return join(tag("h3", "Rows as they are learnt from"), blocks) if blocks else join()


def _of_file(item: FileFindings) -> Html:
    title = tag("summary", item.file, tag("small", f" {item.section}, drawn by lot"))
    return tag("details", title, [_example(one) for one in item.examples], class_="examples")


def _example(one: Example) -> Html:
    said = [
        tag("div", tag("b", SPEAKERS.get(role, role)), tag("bdi", words, dir="auto"), class_="said")
        for role, words in one.turns
    ]
    return tag("article", tag("h3", one.place), said, class_="exchange")


def _number(value: int) -> Html:
    return tag("td", count(value) if value else NOTHING, class_="n")


def _total(left: Sequence[Left]) -> int:
    return sum(item.count for item in left)
