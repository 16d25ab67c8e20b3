"""Writes `docs/reference/` (the commands from the parser, the recipe's keys from the config classes) and
`docs/results.md` with its pictures (from the JSON of `make prove`), and the reference curves (from that of a
benchmark).

    python -m docs.generate            writes the pages
    python -m docs.generate --check    ends with 1 where one of them is out of date

Only what the code says is repeated: help texts, defaults, and the text under each field.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal

from docs.curves_page import curve_pages
from docs.results_page import result_pictures, results_page
from parley.cli import parser as grammar
from parley.config import key_of, plain
from parley.stages.recipe import ROUND_SECTIONS, Recipe

REFERENCE: Final = Path(__file__).parent / "reference"
RESULTS: Final = Path(__file__).parent / "results"
NOTE: Final = "<!-- Written by `python -m docs.generate` from the code. Do not edit. -->"
KINDS: Final = {int: "whole number", float: "number", str: "text", bool: "true or false"}
NO_FIELD_OF_THE_FILE: Final = "rounds"  # a recipe writes it in a form of its own

COMMANDS_HEAD: Final = """\
# The `parley` command

`parley COMMAND --help` says the same. Commands that take a recipe also take `--SECTION.KEY VALUE` for
any key of [the recipe](recipe.md), as in `--ppo.steps 20`.

Exit status: 0 done; 1 a check says no (`--strict`); 2 bad input, with one sentence on stderr; 130
stopped by Ctrl-C.
"""

RECIPE_HEAD: Final = """\
# The recipe

A recipe is a YAML file with the sections below. Every key has a default but `name`. An unknown key is an
error that names the nearest known one. A flag `--SECTION.KEY VALUE` stands over the file.

`rounds` is a list with one entry a round. An entry holds what differs in that round from the sections
`rank`, `reward` and `ppo`, section by section; `{}` is a round in which nothing differs. Without `rounds`
there is one round.
"""


def main(words: list[str]) -> int:
    """Write the pages, or with `--check` compare them."""
    if words not in ([], ["--check"]):
        print("usage: python -m docs.generate [--check]", file=sys.stderr)
        return 2
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]
    if words:
        for path in stale:
            print(f"{path.name} is out of date: run python -m docs.generate", file=sys.stderr)
        return 1 if stale else 0
    REFERENCE.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[Path, str]:
    """Every generated page with the text that it should have now."""
    return {
        REFERENCE / "cli.md": commands_page(),
        REFERENCE / "recipe.md": recipe_page(),
        RESULTS.parent / "results.md": results_page(RESULTS),
        **result_pictures(RESULTS),
        **curve_pages(RESULTS / "curves.json"),
    }


# --- commands --------------------------------------------------------------------------------------------


def commands_page() -> str:
    """All commands, in the order of the parser."""
    return _page(COMMANDS_HEAD, (_command(*found) for found in _leaves(grammar.build_parser())))


def _leaves(parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Each parser that names a function to call, with the sentence that its parent says of it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                if child.get_default("command") is None:
                    yield from _leaves(child)
                else:
                    yield child, told.get(name, "")


def _command(parser: argparse.ArgumentParser, told: str) -> str:
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    words = [parser.prog, *(_usage(action) for action in actions)]
    rows = [(f"`{_spelt(action)}`", _default(action), _sentence(_help(action))) for action in actions]
    table = _table(("argument", "default", ""), rows) if rows else ""
    return f"## `{parser.prog}`\n\n{_sentence(told)}\n\n```text\n{' '.join(words)}\n```\n\n{table}"


def _usage(action: argparse.Action) -> str:
    spelt = _spelt(action)
    return spelt if action.required else f"[{spelt}]"


def _spelt(action: argparse.Action) -> str:
    if not action.option_strings:
        return action.dest.upper()
    flag = action.option_strings[-1]
    return flag if action.nargs == 0 else f"{flag} {action.dest.upper()}"


def _default(action: argparse.Action) -> str:
    if action.required:
        return "required"
    if action.nargs == 0 or action.default in (None, "", argparse.SUPPRESS):
        return ""
    return f"`{action.default}`"


def _help(action: argparse.Action) -> str:
    """What the parser says of it, unless that is its default alone."""
    said = action.help or ""
    return "" if said == f"default: {action.default}" else said


# --- recipe ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section: its name, type, default (None: required), and what its field says."""

    name: str
    kind: Any
    default: str
    text: str


def recipe_page() -> str:
    """All sections, each before the sections inside it."""
    parts = [_section("Top level", Recipe, skip=(*_sections_of(Recipe), NO_FIELD_OF_THE_FILE))]
    for name, kind in _sections_of(Recipe).items():
        if name == "evaluate":  # the order of the walk: a round's sections before what measures it
            parts += [text for key, cls in ROUND_SECTIONS.items() for text in _tree(key, cls)]
        parts += _tree(name, kind)
    return _page(RECIPE_HEAD, parts)


def _tree(where: str, cls: type) -> Iterator[str]:
    """A section, then the sections and the kinds of list entry inside it."""
    inside = _sections_of(cls)
    yield _section(f"`{where}`", cls, skip=inside)
    for name, kind in inside.items():
        yield from _tree(f"{where}.{name}", kind)
    for kind in dict.fromkeys(_entry_of(key.kind) for key in keys(cls)):
        if not is_dataclass(kind):
            continue
        names = [f"`{where}.{key.name}`" for key in keys(cls) if _entry_of(key.kind) is kind]
        yield _section(f"Each entry of {', '.join(names)}", _class(kind), skip=())


def _section(title: str, cls: type, *, skip: typing.Collection[str]) -> str:
    rows = [
        (f"`{key.name}`", spoken(key.kind), key.default, _sentence(key.text))
        for key in keys(cls)
        if key.name not in skip
    ]
    doc = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
    table = _table(("key", "type", "default", ""), rows) if rows else ""
    return f"## {title}\n\n{doc}\n\n{table}"


def keys(cls: type) -> list[Key]:
    """The fields of a config class, with the text that stands under each."""
    hints, said = typing.get_type_hints(cls), field_texts(cls)
    return [
        Key(key_of(entry.name), hints[entry.name], _default_of(entry), said.get(entry.name, ""))
        for entry in fields(cls)
    ]


def field_texts(cls: type) -> dict[str, str]:
    """The string that follows each field of a class, as one line."""
    (found,) = [node for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)]
    texts = {}
    for node, after in zip(found.body, found.body[1:], strict=False):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            texts[node.target.id] = " ".join(str(after.value.value).split())
    return texts


def _sections_of(cls: type) -> dict[str, type]:
    return {key.name: _class(key.kind) for key in keys(cls) if is_dataclass(key.kind)}


def _class(kind: Any) -> type:
    assert isinstance(kind, type)
    return kind


def _entry_of(kind: Any) -> Any:
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else None


def _default_of(entry: Field[Any]) -> str:
    if entry.default is not MISSING:
        value = entry.default
    elif entry.default_factory is not MISSING:
        value = entry.default_factory()
    else:
        return "required"
    return f"`{json.dumps(plain(value), ensure_ascii=False)}`"


def spoken(kind: Any) -> str:
    """A type, as somebody who writes a recipe calls it."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in inside)
    if origin is tuple:
        return "list of entries" if is_dataclass(inside[0]) else f"list, each {spoken(inside[0])}"
    if origin is not None and issubclass(origin, typing.Mapping):
        return f"section of {spoken(inside[1])}s by name"
    if origin is types.UnionType:
        return (
            f"section with the keys of `{_class(inside[0]).__name__.removesuffix('Config').lower()}`, or none"
        )
    return KINDS[kind]


# --- Markdown --------------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _sentence(text: str) -> str:
    """With a capital letter, unless it begins with a name or a symbol, and a full stop."""
    if not text:
        return ""
    first = text[0].upper() + text[1:] if text[0].isascii() else text
    return first if first.endswith(".") else f"{first}."


def _page(head: str, parts: typing.Iterable[str]) -> str:
    return "\n".join([NOTE, "", head, *(part.rstrip() + "\n" for part in parts)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
