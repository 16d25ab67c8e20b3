"""Models of llama2.c: the real one tells its known story, here and in transformers."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from parley.cli import main
from parley.engine.sampler import sample
from parley.errors import DataError
from parley.model.checkpoint import load_checkpoint
from parley.model.llama2c import convert_llama2c
from parley.numerics import NumericPlan

DATA = Path(__file__).parents[3] / "shared" / "data" / "stories260k"
WEIGHTS, VOCABULARY = DATA / "stories260K.bin", DATA / "tok512.bin"
STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball."
)
real = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stories") / "model"
    convert_llama2c(WEIGHTS, VOCABULARY, path)
    return path


@real
def test_the_real_model_tells_its_story(stories: Path) -> None:
    model = load_checkpoint(stories, NumericPlan())
    assert model.tokenizer.marks.document == "<s>"
    for text in ("", "Once upon a time, there was a little"):
        prompt = [model.tokenizer.document, *model.tokenizer.encode(text)]
        (done,) = sample(
            model.decoder,
            [prompt],
            max_new_tokens=60,
            temperature=0.0,
            end_id=model.tokenizer.end,
            generator=torch.Generator(),
        )
        assert model.tokenizer.decode([*prompt, *done.tokens]).startswith(STORY)


@real
def test_transformers_tells_the_same_story_in_the_same_tokens(stories: Path) -> None:
    peer, words = AutoModelForCausalLM.from_pretrained(stories), AutoTokenizer.from_pretrained(stories)
    assert words("").input_ids == [1]
    told = peer.generate(torch.tensor([[1]]), do_sample=False, max_new_tokens=120)[0]
    assert words.decode(told, skip_special_tokens=True).strip().startswith(STORY)
    model = load_checkpoint(stories, NumericPlan())
    (done,) = sample(
        model.decoder,
        [[1]],
        max_new_tokens=120,
        temperature=0.0,
        end_id=model.tokenizer.end,
        generator=torch.Generator(),
    )
    assert list(done.tokens) == told[1:].tolist()


@pytest.fixture
def denormals() -> Iterator[None]:
    """A command flushes them in its process; here that is the process of all tests."""
    yield
    torch.set_flush_denormal(False)


@real
@pytest.mark.usefixtures("denormals")
def test_the_command_converts_and_the_result_continues_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "model")
    convert = ["model", "convert", "--format", "llama2c", "--tokenizer", str(VOCABULARY), str(WEIGHTS), out]
    assert main([*convert, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] == 260_032
    assert main(convert) == 2
    assert "exists already" in capsys.readouterr().err
    generate = ["generate", "--checkpoint", out, "--raw", "--temperature", "0", "--max-tokens", "40"]
    assert main([*generate, "--prompt", "Once upon a time, there"]) == 0
    assert capsys.readouterr().out.startswith(" was a little girl named Lily. She loved")


def _written(path: Path, header: tuple[int, ...], numbers: int) -> Path:
    path.write_bytes(struct.pack("<7i", *header) + bytes(4 * numbers))
    return path


@pytest.mark.parametrize(
    ("header", "numbers", "told"),
    [
        ((8, 8, 1, 3, 1, 10, 4), 100, "is no model of llama2.c: width 8 does not split"),
        ((8, 8, 1, 0, 1, 10, 4), 100, "is no model of llama2.c"),
        ((8, 8, 1, 2, 1, 10, 4), 100, "holds 100 numbers, its header asks for 5"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, header: tuple[int, ...], numbers: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        convert_llama2c(_written(tmp_path / "w.bin", header, numbers), tmp_path / "t.bin", tmp_path / "out")


def test_files_that_are_missing_or_cut_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"w.bin: cannot be read"):
        convert_llama2c(tmp_path / "w.bin", tmp_path / "t.bin", tmp_path / "out")
    (tmp_path / "w.bin").write_bytes(b"abc")
    with pytest.raises(DataError, match="its size is not that of a header"):
        convert_llama2c(tmp_path / "w.bin", tmp_path / "t.bin", tmp_path / "out")


@real
def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path) -> None:
    data = VOCABULARY.read_bytes()
    for harmed, told in ((data[:-9], "is no vocabulary"), (data + bytes(9), "more than the model's 512")):
        (tmp_path / "t.bin").write_bytes(harmed)
        with pytest.raises(DataError, match=told):
            convert_llama2c(WEIGHTS, tmp_path / "t.bin", tmp_path / "out")
