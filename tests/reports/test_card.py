from __future__ import annotations

from pathlib import Path

import pytest

from parley.errors import ArtifactError
from parley.reports.card import collect_card, render_card, write_card
from tests.reports.reading import assert_self_contained, read
from tests.reports.synthetic import whole_run


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    run = whole_run(tmp_path_factory.mktemp("runs") / "tiny")
    return {path.name.rpartition("-")[0]: path for path in run.path.glob("release-*")}


def test_a_card_names_the_release_its_parent_its_data_and_its_ladder(
    releases: dict[str, Path], tmp_path: Path
) -> None:
    card = write_card(releases["release-ppo-1"], tmp_path / "card.html")
    page = read((tmp_path / "card.html").read_text(encoding="utf-8"))
    assert [item.stage for item in card.ladder] == ["sft", "ppo-1"]
    assert_self_contained(page)
    assert page.problems == []
    assert "tiny-ppo-1" in page.text
    assert "came from tiny-sft" in page.text
    assert card.data[:12] in page.text
    assert "90 % 83 to 94" in page.text


def test_the_first_release_came_from_nothing(releases: dict[str, Path]) -> None:
    page = read(render_card(collect_card(releases["release-base"])))
    assert "nothing before it" in page.text


def test_a_directory_without_a_card_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="is not a release card"):
        collect_card(tmp_path)
