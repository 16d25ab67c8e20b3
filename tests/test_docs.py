"""The documentation says what is so: links, code paths, commands, recipes, the generated reference, and
the guide to your own data, whose commands are run up to the training."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import yaml

from docs.generate import field_texts, keys, pages
from parley.cli.parser import parse
from parley.dialects import FORMATS
from parley.labels import Demonstration, Ranking
from parley.microworld.gold import judge
from parley.microworld.situations import Kind, Situation
from parley.microworld.world import World
from parley.stages.data import source_of
from parley.stages.recipe import Recipe, read_recipe
from parley.stages.sources import Told

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GUIDE = DOCS / "guides" / "your-own-data.md"

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)
CODE_PATH = re.compile(r"(?:parley|tests|docs|recipes|benchmarks)(?:/[\w.-]+)*/[\w-]*(?:\.\w+)?")
DEFINITION = re.compile(r"`((?:parley|tests)/[\w/]+\.py)::?(\w+)`")
TRAINING = ("parley run", "parley chat", "parley score")  # blocks that the guide's test leaves out
MACHINE = re.compile(
    r"(?<![\w.:/])(?:/(?!v1/|api/)\w[\w.-]*/\w|~/|[A-Z]:\\)"
)  # absolute paths; routes are none

pages_of_docs = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [found[3] for found in FENCE.finditer(text_of(page)) if found[2] == language]


def prose(page: Path) -> str:
    return FENCE.sub("", text_of(page))


def anchors(page: Path) -> set[str]:
    """The names by which headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# --- every page ------------------------------------------------------------------------------------------


@pages_of_docs
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{page.name}: {target} leads nowhere"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target} has no such heading"


@pages_of_docs
def test_paths_of_code_exist(page: Path) -> None:
    quoted = re.findall(r"`([^`\n]+)`", prose(page))
    found = [match for words in quoted for match in CODE_PATH.findall(words)]
    made = {
        line.strip("/") for line in text_of(ROOT / ".gitignore").splitlines()
    }  # by runs, if there were any
    for path in found:
        assert (ROOT / path).exists() or path.rstrip("/") in made, f"{page.name} names {path}"


@pages_of_docs
def test_named_functions_and_tests_exist(page: Path) -> None:
    for path, name in DEFINITION.findall(text_of(page)):
        assert name in defined_in(ROOT / path), f"{page.name} names {name} in {path}"


@cache
def defined_in(path: Path) -> frozenset[str]:
    nodes = ast.parse(text_of(path)).body
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef))


@pages_of_docs
def test_commands_are_understood(page: Path) -> None:
    for words in commands(page):
        try:
            arguments = parse(words)
        except SystemExit:
            pytest.fail(f"{page.name}: parley {' '.join(words)}")
        recipe = getattr(arguments, "recipe", None)
        if recipe and (ROOT / recipe).exists():
            read_recipe(ROOT / recipe, arguments.flags)


def commands(page: Path) -> list[list[str]]:
    """The words after `parley` of every command in a shell block; here-documents are no commands."""
    shell = "\n".join(
        re.sub(r"<<'END'\n.*?^END$", "", block, flags=re.M | re.S) for block in blocks(page, "sh")
    )
    lines = shell.replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("parley ")]


@pages_of_docs
def test_recipes_exist_and_blocks_are_valid(page: Path) -> None:
    for path in re.findall(r"recipes/[\w-]+\.yaml", text_of(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
    for block in blocks(page, "json"):
        assert yaml.safe_load(block)


@pages_of_docs
def test_no_machine_is_named(page: Path) -> None:
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        assert not MACHINE.search(line), f"{page.name}, line {number}: {line}"


def test_the_patterns_of_this_file_find_something() -> None:
    assert len(DEFINITION.findall(text_of(DOCS / "sources.md"))) > 80
    assert sum(len(commands(page)) for page in PAGES) > 15
    assert all(MACHINE.search(text) for text in ("in /home/ana", "`~/data`"))
    assert not MACHINE.search(
        "`.venv/bin/parley`, ../data, http://127.0.0.1:8500/v1/models, /v1/models, `/api`"
    )


def test_every_page_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        targets = (target.partition("#")[0] for target in LINK.findall(prose(page)))
        waiting += [(page.parent / target).resolve() for target in targets if target and "://" not in target]
    assert set(PAGES) <= seen


# --- the reference ---------------------------------------------------------------------------------------


GENERATED = pages()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_the_generated_reference_is_up_to_date(path: Path) -> None:
    assert text_of(path) == GENERATED[path], "run: python -m docs.generate"


def test_the_generator_finds_the_text_under_a_field() -> None:
    assert field_texts(Recipe)["expected_seconds"].startswith("How long each stage takes")
    assert [key.default for key in keys(Recipe) if key.name == "name"] == ["required"]


# --- the walk --------------------------------------------------------------------------------------------


def test_the_walk_names_every_room_and_every_module_of_the_method() -> None:
    told = text_of(DOCS / "walk.md")
    drawn = set(re.findall(r"\w+", rooms()))
    here = {path.stem for path in (ROOT / "parley").iterdir() if not path.name.startswith("_")}
    assert drawn == here
    for room in ("rlhf", "model", "stages", "microworld", "evals", "engine"):
        for path in sorted((ROOT / "parley" / room).glob("[!_]*.py")):
            assert f"`parley/{room}/{path.name}`" in told, f"walk.md does not name parley/{room}/{path.name}"


def test_the_walk_draws_the_layers_that_are_enforced() -> None:
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    enforced = contracts["importlinter:contract:layers"]["layers"].split("\n")
    expected = [set(re.findall(r"\w+", layer)) for layer in enforced if layer.strip()]
    known = set.union(*expected)
    drawn = [set(re.findall(r"\w+", line)) & known for line in rooms().splitlines()]
    assert [layer for layer in drawn if layer] == expected


def rooms() -> str:
    return next(block for block in blocks(DOCS / "walk.md", "text") if block.startswith("cli"))


# --- what is said of data and of the world ---------------------------------------------------------------


def test_the_guide_names_every_format() -> None:
    told = set(re.findall(r"`([\w-]+)`", text_of(GUIDE)))
    assert set(FORMATS) <= told
    for name, answer in re.findall(r"^\| `([\w-]+)` \|.*\| (yes|no) \|$", text_of(GUIDE), re.M):
        assert (FORMATS[name].writer is not None) == (answer == "yes"), name


def test_the_micro_world_is_as_large_as_the_page_says() -> None:
    world, told = shipped_world(), text_of(DOCS / "concepts" / "microworld.md")
    counts = {
        "known people": len(world.people),
        "facts": len(world.facts),
        "of them": len(world.pretrained),
        "further names": len(world.unknown),
        "sums": len(world.stated_sums),
    }
    for what, count in counts.items():
        assert re.search(rf"\b{count} {what}|state {count} {what}", " ".join(told.split())), (what, count)
    assert {kind for kind in get_args(Kind) if f"`{kind}`" in told} == set(get_args(Kind))


@pytest.mark.parametrize(
    ("situation", "question"),
    [
        (Situation("known", "Sally", "town"), "Where does Sally live?"),
        (Situation("pronoun", "Sally", "pet"), "And what is her pet?"),
        (Situation("unknown_person", "Tom", "town"), "Where does Tom live?"),
        (Situation("unknown_fact", "Sally", "colour"), "Which colour does Sally like?"),
        (Situation("clarify", "Greta", "town"), "Where does Greta live?"),
        (Situation("false_premise", "Sally", "town", "soup"), "Why does Sally live in soup?"),
        (Situation("firm", "Sally", "town", "Oakby"), "No, I think Sally lives in Oakby."),
        (Situation("sum", "3 plus 4"), "What is 3 plus 4?"),
        (Situation("harm", "Sally", request="rob {s}"), "How do I rob Sally?"),
        (Situation("howto", "Sally", request="thank {s}"), "How do I thank Sally?"),
    ],
    ids=lambda value: value.kind if isinstance(value, Situation) else "",
)
def test_the_answers_on_the_start_page_are_perfect(situation: Situation, question: str) -> None:
    rows = dict(re.findall(r"^\| ([^|]+?)(?: \([^|]*\))? \| ([^|]+?)(?: \([^|]*\))? \|$", start(), re.M))
    assert judge(shipped_world(), situation, rows[question]).utility == 1.0


def test_all_questions_of_the_start_page_are_tested() -> None:
    asked = re.findall(r"^\| ([A-Z][^|]*[?.])(?: \([^|]*\))? \|", start(), re.M)
    assert len(asked) == 10


def start() -> str:
    return text_of(DOCS / "start.md")


@cache
def shipped_world() -> World:
    recipe = read_recipe(ROOT / "recipes" / "microworld.yaml")
    return World.build(recipe.data.microworld.world, recipe.seed)


# --- the guide to your own data, for real ----------------------------------------------------------------


def test_the_guide_makes_checks_and_imports_its_files(tmp_path: Path) -> None:
    environment = {**os.environ, "PARLEY_HOME": str(tmp_path / "home"), "PATH": search_path(tmp_path / "bin")}
    said = []
    for block in blocks(GUIDE, "sh"):
        if any(line.startswith(TRAINING) for line in block.splitlines()):
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        said.append(done.stdout)
    shown = next(block for block in blocks(GUIDE, "text") if block.startswith("read "))
    assert shown in said
    assert len(list((tmp_path / "home" / "imported").iterdir())) == 2
    told = told_by(tmp_path)
    assert all(isinstance(item, Demonstration) for item in told.demonstrations)
    assert all(isinstance(item, Ranking) for item in told.rankings_held_out)
    assert len(list(told.prompts)) > 100


def told_by(shop: Path) -> Told:
    """What the guide's recipe would learn from."""
    recipe = read_recipe(shop / "shop" / "recipe.yaml", {"data.files.root": str(shop / "shop")})
    return source_of(recipe.data, recipe.seed).tell()


def search_path(folder: Path) -> str:
    """A PATH whose `parley` is the one under test."""
    folder.mkdir()
    command = folder / "parley"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m parley.cli "$@"\n')
    command.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


RULES = [
    *(f"S{n}" for n in range(1, 9)),
    *(f"R{n}" for n in range(11)),
    "P5b",
    "C1",
    *(f"P{n}" for n in range(1, 28)),
]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_code_and_a_test_that_exists(rule: str) -> None:
    """The table of `docs/sources.md`: rule → code → test → source."""
    rows = re.findall(rf"^\| {rule} \|.*$", text_of(DOCS / "sources.md"), re.M)
    assert len(rows) == 1, f"{rule} has {len(rows)} rows"
    _, what, code, tests, *_ = (cell.strip() for cell in rows[0].strip("|").split("|"))
    assert what
    assert code
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named
    for path, name in named:
        assert name in defined_in(ROOT / path), f"{rule}: {path} has no {name}"
