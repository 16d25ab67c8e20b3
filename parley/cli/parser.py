"""The grammar of the command line. `--help` of each command is its reference."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from parley import __version__
from parley.model.process import prepare_process

DEFAULT_RECIPE: Final = "recipes/microworld.yaml"
DEFAULT_PORT: Final = 8500
PRECISIONS: Final = ("f32", "bf16", "f16", "q8_0")
RELEASE_ACTIONS: Final = ("cut", "list", "show", "promote", "rollback")
RELEASE_STATES: Final = ("candidate", "shadow", "canary", "live", "retired")
Command = Callable[[argparse.Namespace], int]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments, with the function to call as `command` and dotted recipe flags as `flags`."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(_with_action(argv))
    arguments.flags = _flags(parser, rest, allowed=hasattr(arguments, "recipe"))
    return arguments


def _with_action(argv: Sequence[str]) -> list[str]:
    """`release RECIPE` is short for `release cut RECIPE`."""
    words = list(argv)
    named = next((word for word in words[1:] if not word.startswith("-")), None)
    if words[:1] == ["release"] and named is not None and named not in RELEASE_ACTIONS:
        words.insert(1, "cut")
    return words


def _flags(parser: argparse.ArgumentParser, rest: Sequence[str], *, allowed: bool) -> dict[str, str]:
    """`--ppo.steps 20` and `--ppo.steps=20`, for commands that take a recipe."""
    flags: dict[str, str] = {}
    words = iter(rest)
    for word in words:
        if not (allowed and word.startswith("--")):
            parser.error(f"unrecognized argument: {word}")
        name, equals, value = word[2:].partition("=")
        value = value if equals else next(words, "")
        if not value:
            parser.error(f"--{name} needs a value")
        flags[name] = value
    return flags


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = argparse.ArgumentParser(
        prog="parley", description="Your own assistant, made the documented way."
    )
    parser.add_argument("--version", action="version", version=f"parley {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_runs(commands)
    _add_models(commands)
    _add_serving(commands)
    _add_data(commands)
    return parser


def _add_runs(commands: Any) -> None:
    up = _command(
        commands, "up", "runs:up", "serve at once; train the recipe meanwhile where no release exists"
    )
    _port(up)
    up.add_argument("--no-browser", action="store_true", help="print the one-time link, open nothing")
    up.add_argument("--recipe", type=Path, default=Path(DEFAULT_RECIPE), help=f"default: {DEFAULT_RECIPE}")
    run = _command(
        commands,
        "run",
        "runs:run",
        "the whole recipe, resumable; --section.key VALUE behind it overrides a key",
    )
    run.add_argument("recipe", type=Path)
    _memory(run)
    _json(run)
    for stage in ("base", "sft", "reward", "ppo", "evaluate"):
        _stage(commands, stage, stage)
    run.set_defaults(until="")
    _add_checks(commands)
    _add_releases(commands)


def _add_checks(commands: Any) -> None:
    plan = _command(
        commands, "plan", "plan:plan", "how much memory a recipe takes, before anything is loaded"
    )
    plan.add_argument("recipe", type=Path)
    doctor = _command(
        commands, "doctor", "doctor:doctor", "replay one batch, check every invariant, print the machine"
    )
    doctor.add_argument(
        "what",
        type=Path,
        nargs="?",
        help="a recipe, a run's directory or a checkpoint; default: the newest run",
    )
    _json(doctor)
    plan.add_argument("--gpu", type=float, help="on a GPU with so many GB instead of here and now")
    _json(plan)


def _add_releases(commands: Any) -> None:
    release = commands.add_parser(
        "release",
        help="cut releases, see them, promote and roll back",
        description="`parley release RECIPE` is short for `parley release cut RECIPE`.",
    ).add_subparsers(required=True, metavar="ACTION")
    _stage(release, "cut", "release")
    _json(_command(release, "list", "releases:list_releases", "every release with its state"))
    show = _command(release, "show", "releases:show", "one release: figures, lineage, who decided what")
    show.add_argument("name")
    _json(show)
    promote = _command(
        release, "promote", "releases:promote", "a release goes live and answers where none is named"
    )
    promote.add_argument("name")
    promote.add_argument("--to", choices=RELEASE_STATES, default="live", help="another state than live")
    promote.add_argument("--share", type=float, help="of the people, between 0 and 1; a canary's")
    _json(promote)
    rollback = _command(
        release, "rollback", "releases:roll_back", "the release that was live before answers again"
    )
    rollback.add_argument("name", nargs="?", help="default: the one that answers where none is named")
    _json(rollback)


def _stage(commands: Any, name: str, stage: str) -> None:
    part = _command(commands, name, "runs:run", _UP_TO[stage])
    part.add_argument("recipe", type=Path)
    _memory(part)
    part.set_defaults(until="" if stage in ("evaluate", "release") else stage)
    _json(part)


_UP_TO: Final = {
    "base": "a recipe up to and including its base model",
    "sft": "a recipe up to and including its SFT model",
    "reward": "a recipe up to and including the reward model of round 1",
    "ppo": "a recipe up to and including PPO of round 1",
    "evaluate": "a recipe with all its evaluations; what is finished is opened",
    "release": "a recipe with all its releases; what is finished is opened",
}


def _add_models(commands: Any) -> None:
    chat = _command(commands, "chat", "models:chat", "a conversation in the terminal")
    chat.add_argument("--checkpoint", type=Path, help="default: the release that answers by default")
    chat.add_argument("--release", help="a release, or a model of the server that --engine names")
    _engine(chat)
    chat.add_argument("--temperature", type=float, default=0.7)
    chat.add_argument("--max-tokens", type=int, default=256)
    chat.set_defaults(seed=0)
    generate = _command(commands, "generate", "models:generate", "one reply on stdout")
    generate.add_argument("--checkpoint", type=Path, required=True)
    generate.add_argument("--prompt", required=True)
    generate.add_argument("--temperature", type=float, default=0.7)
    generate.add_argument("--max-tokens", type=int, default=256)
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--raw", action="store_true", help="continue plain text without the chat format")
    _json(generate)
    score = _command(
        commands, "score", "models:score", "how often a reward model agrees with people's rankings"
    )
    score.add_argument("--checkpoint", type=Path, required=True)
    _format(score)
    _json(score)
    perplexity = _command(commands, "perplexity", "models:perplexity", "bits per byte of plain text")
    perplexity.add_argument("--checkpoint", type=Path, required=True)
    perplexity.add_argument("file", type=Path, help="a text file, or JSON lines with `text`; may be gzipped")
    _json(perplexity)

    model = commands.add_parser("model", help="models from and for other programs").add_subparsers(
        required=True, metavar="ACTION"
    )
    convert = _command(
        model, "convert", "models:convert", "another program's model as a Hugging Face directory"
    )
    convert.add_argument("weights", type=Path, help="the file of weights")
    convert.add_argument("out", type=Path, help="the directory to make")
    convert.add_argument("--format", choices=["llama2c"], required=True, help="what wrote the file")
    convert.add_argument("--tokenizer", type=Path, required=True, help="the file of its vocabulary")
    _json(convert)
    export = _command(model, "export", "models:export", "a release or checkpoint as another program's file")
    export.add_argument("out", type=Path, help="the file to make")
    what = export.add_mutually_exclusive_group()
    what.add_argument("--release", help="default: the one that answers by default")
    what.add_argument("--checkpoint", type=Path, help="any checkpoint directory")
    export.add_argument("--format", choices=["gguf"], required=True, help="gguf: one file for llama.cpp")
    export.add_argument(
        "--precision", choices=PRECISIONS, default="f32", help="of the matrices; default: f32"
    )
    _json(export)


def _add_serving(commands: Any) -> None:
    serve = _command(commands, "serve", "serving:serve", "the service alone")
    what = serve.add_mutually_exclusive_group()
    what.add_argument("--release", help="the release that answers by default, whatever was promoted")
    what.add_argument("--checkpoint", type=Path, help="serve this directory alone")
    _engine(serve)
    serve.add_argument("--host", default="127.0.0.1", help="default: loopback")
    _port(serve)
    key = commands.add_parser("key", help="bearer keys for /v1").add_subparsers(
        required=True, metavar="ACTION"
    )
    create = _command(key, "create", "serving:create_key", "a new key, shown once")
    create.add_argument("--scope", default="chat")
    create.add_argument("--label", default="", help="what it is for")
    create.add_argument("--days", type=float, help="expires after so many days")
    _json(create)
    _command(commands, "link", "serving:link", "a fresh one-time link to the running page")


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="people's own files").add_subparsers(
        required=True, metavar="ACTION"
    )
    for action, text in (
        ("import", "read a file into the project's home"),
        ("export", "write what was imported in another format"),
        ("check", "read a file and say what is in it, changing nothing"),
    ):
        part = _command(data, action, f"data:{action}_data", text)
        _format(part)
        part.add_argument("--strict", action="store_true", help="end with 1 where a row was rejected")
        _json(part)
    used = _command(
        data,
        "used",
        "releases:used",
        "which releases learnt from the service's people, and what is withdrawn",
    )
    used.add_argument("--person", help="the id of one person")
    _json(used)


def _command(commands: Any, name: str, target: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=_later(target))
    return parser


def _later(target: str) -> Command:
    """The command, imported when it is called."""
    module, function = target.split(":")

    def command(arguments: argparse.Namespace) -> int:
        if module != "data":
            prepare_process()
        run: Command = getattr(import_module(f"parley.cli.{module}"), function)
        return run(arguments)

    return command


def _memory(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-memory-check", action="store_true", help="begin even where the memory plan does not fit"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on stdout and nothing else there"
    )


def _engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        help="built-in, llama (llama.cpp), or the address of an OpenAI-compatible server, whose key is in "
        "PARLEY_ENGINE_KEY; default: PARLEY_ENGINE, else built-in",
    )


def _format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", required=True, help="the file's format; a wrong name lists the known ones"
    )
    parser.add_argument("file", type=Path)


def _port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"default: {DEFAULT_PORT}")
