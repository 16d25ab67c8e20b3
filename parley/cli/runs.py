"""`parley up`, `parley run` and the single stages."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from parley.artifacts import Artifact, Release, Run, write_atomically
from parley.cli import show_json
from parley.cli.loggers import loggers_of
from parley.cli.machine import machine_plan
from parley.cli.paths import RECIPE, runs
from parley.cli.plan import announce_memory
from parley.cli.progress import FileRunView, Status, StatusFile, Tee, Terminal, figure_text, headline
from parley.cli.serving import serve_until_stopped
from parley.config import plain
from parley.model.selftest import apply_plan
from parley.reports.card import write_card
from parley.reports.run_report import write_report
from parley.stages.pipeline import planned, run_recipe
from parley.stages.recipe import Recipe, read_recipe
from parley.stages.release import find_releases

GRACE_SECONDS: Final = 20
REPORT: Final = "report.html"


def run(arguments: argparse.Namespace) -> int:
    """The whole recipe, or the part up to one stage; figures and directories on stdout."""
    recipe = read_recipe(arguments.recipe, arguments.flags)
    plan = machine_plan()
    status = Status(recipe.name, planned(recipe, until=arguments.until), recipe.expected_seconds)
    path = runs() / recipe.name
    file, loggers = StatusFile(path, status), loggers_of(recipe, path)
    watcher = Tee((status, file, Terminal(status, sys.stderr), loggers))
    at_work = Run(path, seed=recipe.seed, plan=plan, watcher=watcher)
    apply_plan(at_work.plan)
    with at_work.held(), _told(file, whole=not arguments.until), closing(loggers):
        memory = announce_memory(recipe, arguments.recipe, at_work.plan, check=not arguments.no_memory_check)
        print(memory, file=sys.stderr)
        write_atomically(path / RECIPE, json.dumps(plain(recipe), ensure_ascii=False, indent=1))
        run_recipe(recipe, at_work, until=arguments.until)
        report = path / REPORT
        write_report(path, report, only={artifact.path.name for artifact in at_work.made.values()})
        for label, artifact in at_work.made.items():
            if isinstance(artifact, Release):
                write_card(artifact.path, path / f"{label.replace(' ', '-')}.html")
    _show(at_work.made, report, as_json=arguments.json)
    return 0


@contextmanager
def _told(file: StatusFile, *, whole: bool) -> Iterator[None]:
    """The status file says how it ended; only the whole recipe is ever done."""
    try:
        file.write("running")
        yield
    except KeyboardInterrupt:
        file.write("stopped", "Stopped. The same command goes on from here.")
        raise
    except Exception as error:
        with suppress(OSError):  # the disk that failed may be the one that this is written to
            file.write("failed", str(error))
        raise
    file.write("done" if whole else "stopped", "" if whole else "A part of the recipe was asked for.")


def _show(made: dict[str, Artifact], report: Path, *, as_json: bool) -> None:
    if as_json:
        stages = {
            label: {
                "directory": str(artifact.path),
                "digest": artifact.digest,
                "figures": dict(artifact.figures),
            }
            for label, artifact in made.items()
        }
        show_json({"stages": stages, "report": str(report)})
        return
    for label, artifact in made.items():
        shown = "  ".join(figure_text(*item) for item in headline(label, artifact.figures).items())
        print(f"{label:<16} {artifact.path}\n{'':<16} {shown}")
    print(f"{'report':<16} {report}")


def up(arguments: argparse.Namespace) -> int:
    """Serve at once; train meanwhile where the recipe is not finished. Ends on Ctrl-C."""
    recipe = read_recipe(arguments.recipe, arguments.flags)
    path = runs() / recipe.name
    view = FileRunView(path, recipe.name)
    finished = view.status().state == "done" and bool(find_releases(runs()))
    child = None if finished else _train(arguments.recipe, arguments.flags, recipe)
    try:
        serve_until_stopped(
            host="127.0.0.1",
            port=arguments.port,
            view=view,
            announce=_announce(open_browser=not arguments.no_browser),
        )
    finally:
        _stop(child)
    return 0


def _announce(*, open_browser: bool) -> Callable[[str], None]:
    def announce(link: str) -> None:
        print(
            f"parley is at {link}\n(the link signs you in once; `.venv/bin/parley link` makes another)",
            flush=True,
        )
        if open_browser:
            webbrowser.open(link)

    return announce


def _train(path: Path, flags: dict[str, str], recipe: Recipe) -> subprocess.Popen[bytes]:
    """The recipe in a process of its own, so that serving never waits for it."""
    extra = [word for name, value in flags.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "parley.cli", "run", str(path), *extra]
    print(f"training {recipe.name} from {path}; what is finished goes live at once", flush=True)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ.copy(), start_new_session=True)


def _stop(child: subprocess.Popen[bytes] | None) -> None:
    """Ask the training process to stop between two steps; insist after a grace."""
    if child is None or child.poll() is not None:
        return
    child.send_signal(signal.SIGINT)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
