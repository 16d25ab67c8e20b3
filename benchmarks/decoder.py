"""Our decoder beside transformers' LlamaForCausalLM: a training step and greedy generation.

Both sides take turns in one run, so that what else the machine does falls on both; the table gives
medians and the ratio. Before anything is timed the two must agree: the same loss to 1e-4 and the
same greedy tokens, in fp32.

    python benchmarks/decoder.py [--quick] [--threads N] [--width D] [--layers L] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from parley.engine.sampler import sample
from parley.model.decoder import Decoder, DecoderConfig, causal_bias
from parley.model.process import prepare_process
from parley.numerics import NumericPlan

END = 1


def main() -> None:
    arguments = _arguments()
    prepare_process()
    torch.set_num_threads(arguments.threads)
    ours, theirs = _models(arguments.width, arguments.layers)
    tokens = torch.randint(6, 768, (32, 64), generator=torch.Generator().manual_seed(0))
    _check(ours, theirs, tokens)
    rounds = 3 if arguments.quick else 9
    rows = {
        "training step, fp32": _race(_our_step(ours, tokens), _their_step(theirs, tokens), rounds),
        "training step, bf16": _race(
            _our_step(ours.use(NumericPlan(linear="bfloat16")), tokens),
            _their_step(theirs, tokens, autocast=True),
            rounds,
        ),
        "generation, batch 64": _race(
            _our_generation(ours.use(NumericPlan()), tokens), _their_generation(theirs, tokens), rounds
        ),
    }
    _show(rows, as_json=arguments.json)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of nine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _models(width: int, layers: int) -> tuple[Decoder, LlamaForCausalLM]:
    shape = DecoderConfig(
        vocab_size=768,
        width=width,
        layers=layers,
        heads=width // 32,
        kv_heads=width // 32,
        mlp_width=width * 8 // 3 // 32 * 32,
        max_positions=256,
    )
    ours = Decoder(shape).initialise(torch.Generator().manual_seed(0)).use(NumericPlan())
    theirs = LlamaForCausalLM(LlamaConfig(**shape.to_hf(), attn_implementation="sdpa"))
    theirs.load_state_dict({"lm_head.weight": ours.embedding.detach(), **ours.hf_weights})
    return ours, theirs


def _check(ours: Decoder, theirs: LlamaForCausalLM, tokens: torch.Tensor) -> None:
    with torch.no_grad():
        loss = _our_loss(ours, tokens).item()
        peer = theirs(input_ids=tokens, labels=tokens).loss.item()
    if abs(loss - peer) > 1e-4:
        raise SystemExit(f"the losses differ: {loss} and {peer}")
    if _our_generation(ours, tokens)() != _their_generation(theirs, tokens)():
        raise SystemExit("the greedy tokens differ")


def _our_loss(model: Decoder, tokens: torch.Tensor) -> torch.Tensor:
    positions = torch.arange(tokens.shape[1]).expand_as(tokens)
    hidden = model(tokens, positions, causal_bias(torch.ones_like(tokens)))
    return -model.token_logprobs(hidden[:, :-1], tokens[:, 1:]).mean()


def _our_step(model: Decoder, tokens: torch.Tensor) -> Callable[[], object]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        _our_loss(model, tokens).backward()  # type: ignore[no-untyped-call]

    return step


def _their_step(
    model: LlamaForCausalLM, tokens: torch.Tensor, *, autocast: bool = False
) -> Callable[[], object]:
    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(input_ids=tokens).logits[:, :-1]
        functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]

    return step


def _our_generation(model: Decoder, tokens: torch.Tensor) -> Callable[[], list[list[int]]]:
    prompts = [row[:24].tolist() for row in tokens.repeat(2, 1)]

    def generate() -> list[list[int]]:
        found = sample(
            model,
            prompts,
            max_new_tokens=24,
            temperature=0.0,
            end_id=END,
            generator=torch.Generator(),
            batch_size=64,
        )
        return [list(done.tokens) for done in found]

    return generate


def _their_generation(model: LlamaForCausalLM, tokens: torch.Tensor) -> Callable[[], list[list[int]]]:
    prompts = tokens.repeat(2, 1)[:, :24]

    def generate() -> list[list[int]]:
        with torch.inference_mode():
            found = model.generate(
                input_ids=prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=24,
                do_sample=False,
                eos_token_id=END,
                pad_token_id=0,
            )
        return [_until_end(row) for row in found[:, 24:].tolist()]

    return generate


def _until_end(row: list[int]) -> list[int]:
    return row[: row.index(END) + 1] if END in row else row


def _race(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median seconds of each, taken in turns after a warm-up."""
    ours()
    theirs()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for side, run in zip(taken, (ours, theirs), strict=True):
            began = time.perf_counter()
            run()
            side.append(time.perf_counter() - began)
    return statistics.median(taken[0]), statistics.median(taken[1])


def _show(rows: Mapping[str, tuple[float, float]], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {name: {"ours": a, "transformers": b, "ratio": b / a} for name, (a, b) in rows.items()}
            )
        )
        return
    print(f"{'':<24} {'ours':>10} {'transformers':>14} {'ratio':>7}")
    for name, (a, b) in rows.items():
        print(f"{name:<24} {a * 1000:>8.1f} ms {b * 1000:>11.1f} ms {b / a:>6.2f}x")


if __name__ == "__main__":
    main()
