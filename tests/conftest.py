"""What holds for every test: one thread, because pools that wait for a busy core make small work many
times slower; and denormal numbers, which commands run in this process flush."""

from collections.abc import Iterator

import pytest
import torch

from tests.databases import make_url, pytest_generate_tests  # noqa: F401  (fixtures and a hook)

torch.set_num_threads(1)

LONGEST = ("test_pipeline.py", "test_kill.py")
"""Files that begin first, so that no core waits for one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def _numbers_as_they_are() -> Iterator[None]:
    yield
    torch.set_flush_denormal(False)
