"""The package's build: setuptools', after the web application has been built.

Where the built files are there and fresh, as in an sdist, nothing of Node is fetched or run.
`PARLEY_SKIP_WEB=1` leaves the web application out: the API and the login pages alone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeAlias

from setuptools import build_meta

from web import assemble

Config: TypeAlias = Mapping[str, Any] | None


def get_requires_for_build_wheel(config_settings: Config = None) -> list[str]:
    """What pip installs before `build_wheel`."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *assemble.HERE.needs()]


def get_requires_for_build_editable(config_settings: Config = None) -> list[str]:
    """What pip installs before `build_editable`."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *assemble.HERE.needs()]


def get_requires_for_build_sdist(config_settings: Config = None) -> list[str]:
    """What pip installs before `build_sdist`."""
    return [*build_meta.get_requires_for_build_sdist(config_settings), *assemble.HERE.needs()]


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: Config = None) -> str:
    """The name of the metadata's directory."""
    return str(build_meta.prepare_metadata_for_build_wheel(metadata_directory, config_settings))


def prepare_metadata_for_build_editable(metadata_directory: str, config_settings: Config = None) -> str:
    """The name of the metadata's directory."""
    return str(build_meta.prepare_metadata_for_build_editable(metadata_directory, config_settings))


def build_wheel(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    """The wheel's file name."""
    _build()
    return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Config = None, metadata_directory: str | None = None
) -> str:
    """The file name of a wheel that points into this checkout."""
    _build()
    return str(build_meta.build_editable(wheel_directory, config_settings, metadata_directory))


def build_sdist(sdist_directory: str, config_settings: Config = None) -> str:
    """The sdist's file name."""
    _build()
    return str(build_meta.build_sdist(sdist_directory, config_settings))


def _build() -> None:
    if assemble.is_skipped():
        return
    try:
        assemble.HERE.build()
    except assemble.CannotBuild as error:
        advice = f"{assemble.SKIP}=1 installs parley without it: the API and the login pages alone"
        sys.exit(f"The web application was not built: {error}. {advice}.")
