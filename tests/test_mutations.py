"""The check of the tests themselves: planted errors are noticed. All of them: `make prove ARGS=mutations`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, QUICK, ROOT, Mutation, verdicts


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda item: item.what)
def test_each_can_be_planted_and_names_tests_that_exist(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    compile(mutation.planted(text), mutation.file, "exec")
    for named in mutation.tests:
        path, _, test = named.partition("::")
        assert f"def {test}" in (ROOT / path).read_text(encoding="utf-8")


def test_a_few_of_them_are_noticed(tmp_path: Path) -> None:
    chosen = [mutation for mutation in MUTATIONS if mutation.what in QUICK]
    assert len(chosen) == len(QUICK)
    assert [item["verdict"] for item in verdicts(chosen, tmp_path)] == ["killed"] * len(QUICK)
