"""One world of the default size and one of the smoke size, built once."""

from __future__ import annotations

import pytest

from parley.microworld.world import World, WorldConfig


@pytest.fixture(scope="session")
def world() -> World:
    return World.build(WorldConfig(), seed=7)


@pytest.fixture(scope="session")
def small() -> World:
    return World.build(WorldConfig.smoke(), seed=3)
