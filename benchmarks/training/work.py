"""What both sides of `benchmarks/train.py` work on: one random model, one set of texts, the same token ids.

Texts are cut from the Python standard library's sources, whose length in tokens is drawn log-uniformly
(prompts 16 to 96, replies 16 to 256). Ours reads sealed artifacts, as its stages do; the peer reads a
Hugging Face directory and lists of token ids that our own code rendered.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from parley.artifacts import Checkpoint, RewardCheckpoint, Snapshot, Workspace
from parley.dialogue import Message, dialogue
from parley.labels import Demonstration, Prompt, Ranking, Ranks
from parley.metrics import Pace, Silent, Watcher
from parley.model.checkpoint import LoadedModel, save_checkpoint
from parley.model.decoder import Decoder, DecoderConfig
from parley.model.heads import RewardModel
from parley.model.render import ChatFormat
from parley.model.reward_checkpoint import LoadedReward, save_reward
from parley.model.tokenizer import Tokenizer
from parley.numerics import NumericPlan
from parley.rlhf.exchanges import exchange_tokens, history_tokens
from parley.stages.records import demonstration_row, prompt_row, ranking_row, write_rows
from parley.stages.sft import demonstration_tokens

CONTEXT = 384
PROMPT_TOKENS = 64
SHAPES = {
    "1M": DecoderConfig(
        vocab_size=1024, width=128, layers=4, heads=4, kv_heads=4, mlp_width=352, max_positions=512
    ),
    "30M": DecoderConfig(
        vocab_size=8192, width=512, layers=8, heads=8, kv_heads=8, mlp_width=1408, max_positions=512
    ),
}
SEED = 1
REWARD_LABEL = "reward"  # of our stage; the head that it draws depends on it


@dataclass(frozen=True)
class Amounts:
    """How much of everything one work directory holds."""

    dialogs: int
    rankings: int
    prompts: int


def make_work(path: Path, size: str, amounts: Amounts) -> None:
    """Artifacts for our stages and token lists for the peer, once a size."""
    text = corpus()
    model = _model(text, size)
    made = _Texts(text, model.tokenizer, np.random.default_rng(SEED))
    demonstrations = [made.demonstration() for _ in range(amounts.dialogs)]
    prompts = [made.prompt(model) for _ in range(amounts.prompts)]
    _seal_models(path, model)
    _seal_told(path / "sft", "demonstrations", map(demonstration_row, demonstrations))
    _seal_told(path / "ppo", "prompts", map(prompt_row, prompts))
    _write(path / "sft.json", _peer_dialogs(demonstrations, model))
    _write(path / "ppo.json", [_prompt_ids(prompt, model) for prompt in prompts])
    for replies in (2, 4):
        rankings = [made.ranking(replies) for _ in range(amounts.rankings * 4 // replies)]
        _seal_told(path / f"reward-{replies}", "rankings", map(ranking_row, rankings))
        _write(path / f"reward-{replies}.json", _peer_pairs(rankings, model))


def corpus(limit: int = 3_000_000) -> str:
    """Sources of the standard library, in order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    parts, size = [], 0
    for source in sorted(root.glob("*.py")):
        parts.append(source.read_text(encoding="utf-8", errors="ignore"))
        size += len(parts[-1])
        if size > limit:
            break
    return "".join(parts)


def _model(text: str, size: str) -> LoadedModel:
    shape = SHAPES[size]
    lines = text[:600_000].splitlines(keepends=True)
    tokenizer = Tokenizer.train(lines, shape.vocab_size)
    decoder = Decoder(shape).initialise(torch.Generator().manual_seed(SEED))
    if tokenizer.vocab_size != shape.vocab_size:
        raise SystemExit(
            f"the tokenizer has {tokenizer.vocab_size} tokens, {shape.vocab_size} were asked for"
        )
    return LoadedModel(decoder, tokenizer, ChatFormat())


class _Texts:
    """Pieces of the corpus, of a length in tokens drawn log-uniformly."""

    def __init__(self, text: str, tokenizer: Tokenizer, rng: np.random.Generator) -> None:
        self.text, self.tokenizer, self.rng = text, tokenizer, rng

    def piece(self, low: int, high: int) -> str:
        tokens = int(np.exp(self.rng.uniform(np.log(low), np.log(high))))
        return self.exactly(tokens)

    def exactly(self, tokens: int) -> str:
        start = int(self.rng.integers(0, len(self.text) - 12 * tokens))
        ids = self.tokenizer.encode(self.text[start : start + 12 * tokens])
        return self.tokenizer.decode(ids[:tokens])

    def demonstration(self) -> Demonstration:
        turns = dialogue([self.piece(16, 96), self.piece(16, 256)])
        return Demonstration.of_all_turns(turns, trainer="nobody", source="benchmark")

    def ranking(self, replies: int) -> Ranking:
        said = tuple(Message("assistant", self.piece(16, 256), "nobody") for _ in range(replies))
        order = Ranks(tuple(range(1, replies + 1)))
        return Ranking(dialogue([self.piece(16, 96)]), said, order, "nobody", "benchmark")

    def prompt(self, model: LoadedModel) -> Prompt:
        """A prompt of exactly `PROMPT_TOKENS` tokens as it is rendered."""
        while True:
            prompt = Prompt(dialogue([self.exactly(PROMPT_TOKENS - 3)]), "benchmark")
            if len(_prompt_ids(prompt, model, room=1000)) == PROMPT_TOKENS:
                return prompt


def _prompt_ids(prompt: Prompt, model: LoadedModel, *, room: int = PROMPT_TOKENS) -> list[int]:
    return list(history_tokens(model, prompt.conversation, max_tokens=room))


def _peer_dialogs(demonstrations: Sequence[Demonstration], model: LoadedModel) -> list[dict[str, object]]:
    examples = demonstration_tokens(demonstrations, model, row_tokens=CONTEXT)
    pairs = (examples.example(index) for index in range(len(examples)))
    return [{"input_ids": ids.tolist(), "completion_mask": mask.astype(int).tolist()} for ids, mask in pairs]


def _peer_pairs(rankings: Sequence[Ranking], model: LoadedModel) -> list[dict[str, object]]:
    rows = []
    for ranking in rankings:
        read = [exchange_tokens(model, ranking.prompt, r.text, context=CONTEXT)[0] for r in ranking.replies]
        rows += [
            {"chosen_ids": read[pair.better], "rejected_ids": read[pair.worse]}
            for pair in ranking.comparisons()
        ]
    return rows


def _seal_models(path: Path, model: LoadedModel) -> None:
    """The policy, a reward model for PPO, and for the peer the head that our reward stage draws."""
    out = workspace(path / "base")
    save_checkpoint(out.path, model.decoder, model.tokenizer, model.chat_format)
    out.seal(Checkpoint, {})
    out = workspace(path / "scorer")
    torch.manual_seed(workspace(path, REWARD_LABEL).seed_for("head"))
    scorer = RewardModel(model.decoder, [])
    save_reward(out.path, LoadedReward(scorer, model.tokenizer, model.chat_format, CONTEXT))
    out.seal(RewardCheckpoint, {})
    parts = scorer.state_dict()
    save_file(
        {n: w for n, w in parts.items() if n.startswith(("hidden", "score"))}, path / "head.safetensors"
    )


def _seal_told(path: Path, name: str, rows: Iterable[dict[str, Any]]) -> None:
    out = workspace(path)
    write_rows(out.file(f"{name}.jsonl"), rows)
    out.seal(Snapshot, {})


def workspace(path: Path, label: str = "work", watcher: Watcher | None = None) -> Workspace:
    """A directory of this seed in which a stage may work."""
    path.mkdir(parents=True, exist_ok=True)
    return Workspace(path, label, SEED, NumericPlan(), watcher or Silent(), {}, Pace())


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
