"""`--engine` and `PARLEY_ENGINE`: which engine answers, in the terminal and behind the service."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import openai
import pytest

from parley.cli import main
from parley.cli.engines import engine_named, server_responder
from parley.errors import ConfigError
from parley.model.checkpoint import save_checkpoint
from parley.model.decoder import Decoder
from parley.model.render import ChatFormat
from parley.model.tokenizer import Tokenizer
from parley.store.keys import create_key
from tests.engine.conftest import decoder, grouped, tokenizer  # noqa: F401 - fixtures
from tests.engine.contract.conftest import HAS_LLAMA, build
from tests.engine.contract.protocol import KEY, MODEL, FakeServer
from tests.service.conftest import running


@pytest.fixture
def server(grouped: Decoder) -> Iterator[FakeServer]:  # noqa: F811
    engine = build(grouped)
    with closing(engine), closing(FakeServer(engine)) as found:
        yield found


def said(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO("Where does Mira live?\n"))
    return main(["chat", "--temperature", "0", "--max-tokens", "6", *words])


def test_a_conversation_with_a_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLEY_ENGINE_KEY", KEY)
    assert said(monkeypatch, "--engine", server.url) == 0
    by_flag = capsys.readouterr().out
    assert by_flag.count("<") == 6
    monkeypatch.setenv("PARLEY_ENGINE", server.url)
    assert said(monkeypatch) == 0
    assert capsys.readouterr().out == by_flag
    assert server.asked[-1]["model"] == MODEL


def test_the_service_answers_by_a_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PARLEY_ENGINE_KEY", KEY)
    with (
        closing(server_responder(server.url)) as responder,
        running(tmp_path, responder=responder) as service,
    ):
        with service.sessions.begin() as session:
            key = create_key(session, scope="chat", label="", now=int(time.time())).secret
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key=key, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == [MODEL]
            done = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hi?"}], max_tokens=5, temperature=0
            )
            assert done.choices[0].finish_reason == "length"
            assert (done.choices[0].message.content or "").count("<") == 5
            with pytest.raises(openai.BadRequestError, match="context of 200"):
                client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": "Hi?"}], max_tokens=900
                )


@pytest.mark.skipif(not HAS_LLAMA, reason="the extra llama is not installed")
def test_llama_cpp_says_what_the_built_in_engine_says(
    decoder: Decoder,  # noqa: F811
    tokenizer: Tokenizer,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    save_checkpoint(tmp_path / "tiny", decoder, tokenizer, ChatFormat())
    heard = []
    for engine in ("built-in", "llama"):
        assert said(monkeypatch, "--checkpoint", str(tmp_path / "tiny"), "--engine", engine) == 0
        heard.append(capsys.readouterr().out)
    assert heard[0] == heard[1]


@pytest.mark.skipif(HAS_LLAMA, reason="the extra llama is installed")
def test_llama_cpp_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tests.tiny import tiny_model

    model = tiny_model()
    save_checkpoint(tmp_path / "tiny", model.decoder, model.tokenizer, model.chat_format)
    said(monkeypatch, "--checkpoint", str(tmp_path / "tiny"), "--engine", "llama")
    assert "pip install 'parley[llama]'" in capsys.readouterr().err


def test_what_is_no_engine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take built-in, llama or the address"):
        engine_named("vllm")
    assert main(["serve", "--engine", "http://gpu:8000", "--checkpoint", str(tmp_path)]) == 2
    assert "--checkpoint is for engines of our own" in capsys.readouterr().err
