"""`parley release list | show | promote | rollback` on releases of a run, and what the service sees of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from parley.cli import main
from parley.cli.parser import parse
from parley.cli.releases import FileReleaseView, answering_directory
from parley.errors import NotFound
from parley.stages.release import find_releases
from tests.reports.synthetic import whole_run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARLEY_HOME", str(tmp_path))
    monkeypatch.delenv("PARLEY_DATABASE_URL", raising=False)
    whole_run(tmp_path / "runs" / "micro")
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["release", *words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return found


def names(home: Path) -> list[str]:
    return [found.info.name for found in find_releases(home / "runs")]


def standing(capsys: pytest.CaptureFixture[str]) -> dict[str, tuple[str, bool]]:
    return {one["name"]: (one["state"], one["is_default"]) for one in told(capsys, "list")["releases"]}


def test_promote_and_roll_back(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, newest = names(home)
    assert standing(capsys)[newest] == ("live", True)
    assert told(capsys, "promote", first) == {"release": first, "state": "live", "default": first}
    assert standing(capsys)[newest] == ("candidate", False)
    told(capsys, "promote", newest)
    assert told(capsys, "rollback") == {"release": newest, "state": "retired", "default": first}
    assert answering_directory().name.startswith("release-")
    shown = told(capsys, "show", newest)
    assert shown["state"] == "retired"
    assert [(one["action"], one["default"]) for one in shown["history"]] == [
        ("rollback", first),
        ("promote", newest),
    ]
    assert shown["history"][0]["by"].startswith("cli")
    assert set(shown) >= {"checkpoint", "data", "parents", "figures", "seed", "commit", "directory", "digest"}


def test_a_canary_has_its_share(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    newest = names(home)[-1]
    assert told(capsys, "promote", newest, "--to", "canary", "--share", "0.1")["state"] == "canary"
    (row,) = [one for one in told(capsys, "list")["releases"] if one["name"] == newest]
    assert (row["state"], row["share"]) == ("canary", 0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["promote", "nothing"], "there are: "),
        (["show", "nothing"], "nothing"),
        (["rollback", "nothing"], "there are: "),
        (["promote", "micro-base", "--to", "canary"], "share"),
        (["promote", "micro-base", "--share", "0.5"], "canary"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    assert main(["release", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_people_read_it_too(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names(home))
    assert [line.startswith("* ") for line in lines] == [False] * (len(lines) - 1) + [True]
    assert main(["release", "show", names(home)[-1]]) == 0
    assert "answers by default" in capsys.readouterr().out


def test_without_releases_the_list_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLEY_HOME", str(tmp_path))
    assert main(["release", "list"]) == 0
    assert capsys.readouterr().out == "no release yet\n"
    assert main(["data", "used"]) == 0
    assert "no release learnt" in capsys.readouterr().out
    assert main(["release", "rollback"]) == 2


def test_the_stage_keeps_its_short_form() -> None:
    for words in (["release", "recipes/smoke.yaml"], ["release", "cut", "recipes/smoke.yaml"]):
        arguments = parse([*words, "--seed", "3"])
        assert (arguments.recipe, arguments.until) == (Path("recipes/smoke.yaml"), "")
        assert arguments.flags == {"seed": "3"}
    assert parse(["release", "--json", "recipes/smoke.yaml"]).json is True


def test_the_service_reads_cards_from_the_releases_directories(home: Path) -> None:
    view = FileReleaseView(home / "runs")
    newest = names(home)[-1]
    made = view.details(newest)
    assert made.name == newest
    assert made.parents
    assert made.figures
    page = view.card(newest)
    assert newest in page
    assert "<script" not in page
    with pytest.raises(NotFound):
        view.card("nothing")
    (find_releases(home / "runs")[-1].path / "report.json").write_text("{")
    with pytest.raises(NotFound):
        FileReleaseView(home / "runs").details(newest)
