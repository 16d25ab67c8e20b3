"""The guide to the API: its examples run, against a release of that name, and its limits are the settings'."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from parley.engine.engine import MOST_WAITING
from parley.service.common.settings import Settings
from parley.service.openai.parameters import MAX_BIASED, MAX_CHOICES, MAX_LIKELIEST, MAX_STOPS
from parley.service.openai.wire_text import DEFAULT_TOKENS, MAX_PROMPTS

from .engines import TINY, Tiny, tiny_service

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "api.md"
TEXT = GUIDE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    with tiny_service(tmp_path_factory.mktemp("guide")) as served:
        yield served


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_run(tiny: Tiny, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = example.replace("http://127.0.0.1:8500", tiny.service.url)
    code = code.replace("microworld-ppo-2", TINY.name).replace("parley_...", tiny.service.key())
    given: dict[str, object] = {}
    exec(compile(f"{code}\nclient.close()\n", str(GUIDE), "exec"), given)
    assert capsys.readouterr().out.strip()


def test_there_are_examples_of_both_kinds() -> None:
    assert len(EXAMPLES) == 3
    assert any("stream=True" in example for example in EXAMPLES)
    assert any("client.completions" in example for example in EXAMPLES)


def test_the_limits_are_those_of_the_code() -> None:
    settings = Settings()
    for said in (
        f"list of up to {MAX_PROMPTS} ",
        f"{settings.sampling.max_tokens} where absent (plain: {DEFAULT_TOKENS}), {settings.max_reply_tokens} at most",
        f"up to {MAX_BIASED} token ids",
        f"1 to {MAX_CHOICES} replies",
        f"a number up to {MAX_LIKELIEST}",
        f"within {settings.receive_seconds:.0f} seconds",
        f"more than {settings.max_body_bytes:,} bytes",
        f"of this key ({settings.max_in_flight_of_key} replies), of all ({settings.max_in_flight})",
        f"of the engine ({MOST_WAITING} waiting)",
        f"more than {settings.max_connections:,} connections",
        f"for {settings.send_seconds:.0f} seconds is dropped",
    ):
        assert said in TEXT, said
    assert MAX_STOPS == 4
    assert settings.drain_seconds == 10
