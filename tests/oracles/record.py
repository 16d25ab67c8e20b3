"""Records what TRL makes of our small model: `python -m tests.oracles.record --trl PEER/bin/python`.

The model's weights are sines of their place, the same on every machine; the inputs are written out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from parley.dialogue import Message, dialogue
from parley.labels import Ranking, Ranks
from parley.model.checkpoint import LoadedModel, save_checkpoint
from parley.model.heads import RewardModel
from parley.rlhf.exchanges import exchange_tokens
from parley.rlhf.groups import RankedReplies, ranked_replies
from tests.tiny import tiny_model

RECORD = Path(__file__).with_name("trl_losses.json")
PROGRAM = Path(__file__).with_name("trl_losses.py")
STEPS, RATE = 3, 1e-3
PROMPTS = ("Where does Mira live?", "Who has a goat?", "Which Sally do you mean, and what does she do?")
REPLIES = ("Mira lives in Oakby.", "I do not know.", "Tom has a goat.", "You are right, I made a mistake.")


def model() -> LoadedModel:
    """The small decoder with weights that anybody can compute."""
    loaded = tiny_model()
    for number, (name, weight) in enumerate(sorted(loaded.decoder.named_parameters())):
        if weight.ndim > 1:
            set_by_formula(weight, number, size=1.0 if "embedding" in name else 0.3)
    return loaded


def reward_model() -> RewardModel:
    """The same trunk, and a head of sines."""
    found = RewardModel(model().decoder, [])
    set_by_formula(found.hidden.weight, 101, size=0.3)
    set_by_formula(found.score.weight, 102, size=0.3)
    nn.init.zeros_(found.hidden.bias)
    return found


@torch.no_grad()
def set_by_formula(weight: Tensor, number: int, *, size: float) -> None:
    """`size * sin(12.9898 n + number)` at the n-th place, in float64 before it is rounded."""
    places = torch.arange(weight.numel(), dtype=torch.float64)
    weight.copy_((size * torch.sin(12.9898 * places + number)).view(weight.shape))


def rankings(replies: int) -> list[Ranking]:
    """One a prompt, of so many replies, no ties."""
    said = tuple(Message("assistant", text, "p") for text in REPLIES[:replies])
    order = Ranks(tuple(range(1, replies + 1)))
    return [Ranking(dialogue([prompt]), said, order, "nobody", "oracle") for prompt in PROMPTS]


def groups(replies: int) -> RankedReplies:
    """The same as our reward stage reads them."""
    return ranked_replies(rankings(replies), model(), context=96)


def inputs() -> dict[str, Any]:
    """What both sides are given."""
    loaded = model()
    dialogs = [
        exchange_tokens(loaded, dialogue([prompt]), reply, context=96)
        for prompt, reply in zip(PROMPTS, REPLIES, strict=False)
    ]
    return {
        "steps": STEPS,
        "rate": RATE,
        "sft": [{"input_ids": ids, "completion_mask": list(map(int, mask))} for ids, mask in dialogs],
        **{f"reward-{k}": _pairs(rankings(k), loaded) for k in (2, 4)},
    }


def _pairs(found: list[Ranking], loaded: LoadedModel) -> list[dict[str, list[int]]]:
    rows = []
    for ranking in found:
        read = [exchange_tokens(loaded, ranking.prompt, r.text, context=96)[0] for r in ranking.replies]
        rows += [
            {"chosen_ids": read[pair.better], "rejected_ids": read[pair.worse]}
            for pair in ranking.comparisons()
        ]
    return rows


def asked(python: str, place: Path) -> dict[str, Any]:
    """TRL's losses, from that Python."""
    loaded = model()
    save_checkpoint(place, loaded.decoder, loaded.tokenizer, loaded.chat_format)
    parts = reward_model().state_dict()
    names = {"hidden": "0", "score": "2"}
    head = {
        f"{names[n.split('.')[0]]}.{n.split('.')[1]}": w for n, w in parts.items() if n.split(".")[0] in names
    }
    save_file(head, place / "head.safetensors")
    (place / "inputs.json").write_text(json.dumps(inputs()), encoding="utf-8")
    done = subprocess.run(
        [python, str(PROGRAM), str(place)], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Ask and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trl", required=True, help="a Python with trl 1.16.0")
    with tempfile.TemporaryDirectory() as place:
        answer = asked(parser.parse_args().trl, Path(place))
    RECORD.write_text(json.dumps({"inputs": inputs(), "answer": answer}) + "\n", encoding="utf-8")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
