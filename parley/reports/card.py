"""The card of a release: who it is, what it came from, and what it was measured to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parley.artifacts import MANIFEST, read_manifest, write_atomically
from parley.errors import ArtifactError
from parley.reports.collect import REPORT, read_evaluation
from parley.reports.figures import moment, number
from parley.reports.html import Html, anchor, join, tag
from parley.reports.ladder import behaviour_table
from parley.reports.lineage import short_commit
from parley.reports.look import page
from parley.reports.tables import note, row, table
from parley.reports.values import Evaluation, decodings_of, spoken
from parley.stages.release import CARD


@dataclass(frozen=True, slots=True)
class ReleaseCard:
    """A release with its parents. `ladder` holds their evaluations and its own, its own last."""

    name: str
    stage: str
    checkpoint: str
    data: str
    parents: Mapping[str, str]
    """Names of the releases it came from by their checkpoints' digests; "" where none is known."""
    figures: Mapping[str, float]
    ladder: tuple[Evaluation, ...]
    seed: int
    commit: str
    finished: int


def collect_card(release_directory: Path) -> ReleaseCard:
    """The card in a sealed release, with the ladder over the parents that stand beside it."""
    card, manifest = _read(release_directory), read_manifest(release_directory)
    siblings = _siblings(release_directory)
    parents = [digest for digest in dict.fromkeys(map(str, card["parents"])) if digest != card["checkpoint"]]
    known = [siblings[digest] for digest in reversed(parents) if digest in siblings]
    return ReleaseCard(
        name=str(card["name"]),
        stage=str(card["stage"]),
        checkpoint=str(card["checkpoint"]),
        data=str(card["data"]),
        parents={
            digest: str(_read(siblings[digest])["name"]) if digest in siblings else "" for digest in parents
        },
        figures={str(key): float(value) for key, value in card["figures"].items()},
        ladder=tuple(_evaluation(path) for path in [*known, release_directory]),
        seed=int(manifest["seed"]),
        commit=str(manifest["commit"]),
        finished=int(manifest["finished"]),
    )


def render_card(card: ReleaseCard) -> str:
    """The card as a page of its own."""
    return page(f"{card.name}: release card", card_fragment(card))


def write_card(release_directory: Path, path: Path) -> ReleaseCard:
    """Render a release's card into a file; what it was rendered from."""
    card = collect_card(release_directory)
    write_atomically(path, render_card(card))
    return card


def card_fragment(card: ReleaseCard) -> Html:
    """The card as part of a page."""
    parents = [tag("span", name or digest[:12], title=digest) for digest, name in card.parents.items()]
    facts = (
        (
            "came from",
            [(", " if n else "", parent) for n, parent in enumerate(parents)] or "nothing before it",
        ),
        ("data", tag("span", card.data[:12], class_="digest", title=card.data)),
        ("checkpoint", tag("span", card.checkpoint[:12], class_="digest", title=card.checkpoint)),
        ("seed", str(card.seed)),
        ("commit", short_commit(card.commit)),
        ("cut", moment(card.finished)),
    )
    listed = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    heading = tag("p", "Release card", class_="over"), tag("h1", card.name), tag("dl", listed, class_="facts")
    return tag("article", tag("header", heading), _ladders(card), _figures(card))


def _ladders(card: ReleaseCard) -> Html:
    golden = [item for item in card.ladder if item.decodings]
    small = note("A bar is full up to the lower end of the 95\u00a0% interval and pale up to its upper end.")
    tables = [behaviour_table(golden, name) for name in decodings_of(golden[-1:])]
    measured = [
        tag("li", tag("code", f"{item.directory}/{REPORT}"), id=anchor(item.directory)) for item in golden
    ]
    origins = tag("div", "From", tag("ol", measured, class_="files"), class_="note")
    return tag("section", tag("h2", "Ladder"), tables, small, origins) if tables else join()


def _figures(card: ReleaseCard) -> Html:
    rows = [
        row(spoken(key), [tag("td", number(value, 3), class_="n")]) for key, value in card.figures.items()
    ]
    if not rows:
        return join()
    return tag(
        "section",
        tag("h2", "Headline figures"),
        table("As sealed in card.json", ["", "value"], rows, numeric=True),
    )


def _read(directory: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((directory / CARD).read_text(encoding="utf-8"))
        _ = [card[key] for key in ("name", "stage", "checkpoint", "parents", "data", "figures")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{directory / CARD} is not a release card ({error!r})") from None
    return card


def _siblings(directory: Path) -> dict[str, Path]:
    """The newest sealed release of each checkpoint in the same run."""
    found = [
        path.parent for path in directory.parent.glob(f"release-*/{MANIFEST}") if path.parent != directory
    ]
    ordered = sorted(found, key=lambda path: (int(read_manifest(path)["finished"]), path.name))
    return {str(_read(path)["checkpoint"]): path for path in ordered}


def _evaluation(directory: Path) -> Evaluation:
    return read_evaluation(directory, str(_read(directory)["stage"]), read_manifest(directory))
