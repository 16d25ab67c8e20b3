"""When a build of the package fetches Node and builds the web application, and when it does not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from web.assemble import HERE, NODE, SKIP, CannotBuild, Checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy of the sources, with built files that are theirs."""
    made = Checkout(tmp_path)
    shutil.copytree(HERE.web, made.web, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    made.stamp.parent.mkdir(parents=True)
    shutil.copy(HERE.stamp.parents[1] / "tokens.css", made.stamp.parents[1])
    made.stamp.write_text(made.digest())
    return made


def test_where_the_built_files_are_fresh_no_node_is_fetched(checkout: Checkout) -> None:
    assert checkout.needs() == []
    checkout.build()  # which leaves everything as it is
    assert not (checkout.web / "node_modules").exists()


@pytest.mark.parametrize(
    "source",
    ["web/src/main.tsx", "web/package-lock.json", "web/openapi.json", "parley/service/web/tokens.css"],
)
def test_a_changed_source_makes_them_stale_and_node_comes_as_a_python_package(
    checkout: Checkout, source: str
) -> None:
    with (checkout.root / source).open("a") as file:
        file.write("\n")
    assert not checkout.is_fresh()
    assert checkout.needs() == [NODE]


def test_a_new_and_a_missing_source_are_seen(checkout: Checkout) -> None:
    extra = checkout.web / "src" / "extra.ts"
    extra.write_text("export {};\n")
    assert not checkout.is_fresh()
    extra.unlink()
    assert checkout.is_fresh()
    (checkout.web / "src" / "main.tsx").unlink()
    assert not checkout.is_fresh()


def test_what_python_and_npm_leave_there_is_no_source(checkout: Checkout) -> None:
    for name in ("__pycache__/x.cpython.pyc", "node_modules/react/index.js"):
        file = checkout.web / name
        file.parent.mkdir(parents=True)
        file.write_text("")
    assert checkout.is_fresh()


def test_whoever_skips_the_web_application_needs_no_node(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.stamp.unlink()
    monkeypatch.setenv(SKIP, "1")
    assert checkout.needs() == []
    monkeypatch.setenv(SKIP, "0")
    assert checkout.needs() == [NODE]


def test_types_that_are_not_of_the_document_are_not_built(checkout: Checkout) -> None:
    with (checkout.web / "src" / "api.gen.ts").open("a") as types:
        types.write("// by hand\n")
    with pytest.raises(CannotBuild, match=r"run `python -m web\.client`"):
        checkout.build()


def test_an_npm_that_reaches_nothing_fails_the_build_with_one_line(checkout: Checkout) -> None:
    """The hook as pip runs it, in a process of its own, against a registry where nobody listens."""
    checkout.stamp.unlink()
    nowhere = {"registry": "http://127.0.0.1:9/", "cache": str(checkout.root / "cache"), "fetch_retries": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "from web import hook; hook.build_wheel('out')"],
        cwd=checkout.root,
        env={"PATH": "", **{f"npm_config_{name}": value for name, value in nowhere.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "The web application was not built: npm could not fetch its packages (npm-cli.js ended with 1)."
        f" {SKIP}=1 installs parley without it: the API and the login pages alone."
    )
