"""`PARLEY_HOME`: where the database, the imported files, the runs and their releases live."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from parley.errors import ConfigError

RECIPE: Final = "recipe.json"  # in a run's directory, as it was begun: preset, file and flags together


def home() -> Path:
    """`PARLEY_HOME`, or `./workspace`; made where it is missing."""
    path = Path(os.environ.get("PARLEY_HOME") or "workspace").resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"PARLEY_HOME {path} cannot be made ({error.strerror})") from None
    return path


def runs() -> Path:
    """The directory of all runs."""
    return home() / "runs"


def imported() -> Path:
    """The directory of files that people brought."""
    return home() / "imported"
