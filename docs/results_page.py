"""`docs/results.md` from the JSON results that `make prove` wrote: what was measured, failures included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from html import escape
from operator import getitem
from pathlib import Path
from typing import Any, Final

NOTE: Final = "<!-- Written by `python -m docs.generate` from docs/results. Do not edit. -->"
HEAD: Final = """\
# Results

What `make prove` measured, on two cores of a shared virtual machine without a GPU. Each section names the commit.
A figure that is not here was not measured.
"""
MOST_SAMPLE: Final = 160  # characters of a table's cell
STAGES: Final = ("base", "sft", "ppo-1", "ppo-2")
NAMES: Final = {"base": "base", "sft": "SFT", "ppo-1": "PPO 1", "ppo-2": "PPO 2"}


def results_page(directory: Path) -> str:
    """The whole page; a result that is absent has no section."""
    sections = [HEAD]
    for name, render in SECTIONS.items():
        path = directory / f"{name}.json"
        if path.exists():
            sections.append("\n".join(render(json.loads(path.read_text(encoding="utf-8")))))
    return f"{NOTE}\n\n" + "\n".join(sections).rstrip() + "\n"


def _origin(result: Mapping[str, Any]) -> str:
    return f"{result['what']} Commit `{result['commit'][:12]}`."


def _kills(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Killed and resumed\n"
    yield _origin(result)
    yield f"\n{result['kills']} kills, each while the run was at work: every weight is bitwise equal."
    yield f"The undisturbed smoke run took {result['seconds']:.0f} s.\n"


def _overoptimise(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Over-optimisation\n"
    yield _origin(result)
    yield (
        f"\nGold starts at {result['gold_start']:.2f}, peaks at {result['gold_peak']:.2f} in step "
        f"{result['gold_peak_step']} of {result['steps']} (KL {result['gold_peak_kl_nats']:.1f} nats) and ends at "
        f"{result['gold_end']:.2f}, {result['fall_in_standard_errors']:.0f} standard errors below. The proxy goes from "
        f"{result['proxy_start']:.2f} to {result['proxy_end']:.2f}. {result['seconds']} s.\n"
    )


def _large(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Truth or wording, larger\n"
    yield _origin(result)
    yield (
        f"\n{result['parameters'] / 1e6:.1f} M parameters, {result['tokens'] / 1e6:.1f} M tokens of documents, seed "
        f"{result['seed']}, {result['seconds']} s. Success at T=0.7 by what the wording suggests and what is true; the "
        "small recipe has 0 of 50 in every cell where the two differ (`dev/LOG.md`).\n"
    )
    yield "| prompts / wording says / truth says | n | " + " | ".join(NAMES[stage] for stage in STAGES) + " |"
    yield "| --- | --- |" + " --- |" * len(STAGES)
    served = [result["stages"][stage]["T=0.7"] for stage in STAGES]
    for cell, first in served[0]["cue_swap"].items():
        rates = " | ".join(f"{found['cue_swap'][cell]['success']['value']:.2f}" for found in served)
        yield f"| {cell} | {first['n']} | {rates} |"
    for kind in ("sum", "unknown_fact", "unknown_person"):
        rates = " | ".join(f"{found['behaviours'][kind]['value']:.2f}" for found in served)
        yield f"| {kind.replace('_', ' ')} | {served[0]['behaviours'][kind]['n']} | {rates} |"
    yield ""


def _public(result: Mapping[str, Any]) -> Iterator[str]:
    figures = result["figures"]
    sft, reward = figures["sft"], figures["reward 1"]
    yield "## People's words, small\n"
    yield _origin(result)
    yield f"\n{result['seconds']} s, {result['peak_gigabytes']} GB at most.\n"
    yield "| | |\n| --- | --- |"
    yield f"| bits per byte of unseen articles, base | {figures['base']['bits_per_byte']:.3f} |"
    yield f"| loss on unseen dialogues, base → SFT | {sft['base_loss']:.2f} → {sft['loss']:.2f} nats a token |"
    for name in (
        "accuracy",
        *(key for key in reward if key.startswith("accuracy ") and f"{key} n" in reward),
    ):
        low, high, n = (reward[f"{name} {end}"] for end in ("low", "high", "n"))
        yield f"| reward model, {name} | {reward[name]:.3f} ({low:.3f} to {high:.3f}), {n:.0f} pairs |"
    last = figures["evaluate ppo-1"]
    yield f"| reward of replies to unseen prompts, PPO | {last['reward']:.2f} at KL {last['kl_nats']:.1f} nats |\n"


def _words(result: Mapping[str, Any]) -> Iterator[str]:
    memory, ppo = result["memory"], result["ppo"]
    yield "## People's words\n"
    yield _origin(result)
    yield (
        f"\n`{result['recipe']}`: {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['tokens'] / 1e6:.1f} M tokens of text, "
        f"{result['seconds'] / 60:.0f} minutes, {result['peak_gigabytes']} GB at most.\n"
    )
    yield "| held out | bz2 | base | SFT | PPO 1 |\n| --- | --- | --- | --- | --- |"
    for source, base in memory["base"]["texts"].items():
        cells = " | ".join(f"{memory[stage]['texts'][source]['bits_per_byte']:.2f}" for stage in memory)
        yield f"| bits per byte, {source} | {base['bz2_bits_per_byte']:.2f} | {cells} |"
    for source in memory["base"]["dialogues"]:
        cells = " | ".join(f"{memory[stage]['dialogues'][source]['loss']:.2f}" for stage in memory)
        yield f"| nats a token, {source} | | {cells} |"
    yield "\n| reward model, held-out pairs | n | accuracy | TF-IDF floor | the longer one | correlation with length |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, model in result["reward"].items():
        for source, found in {"all": model["pooled"], **model["sources"]}.items():
            yield _judged(f"{name}, {source}", found)
    yield (
        f"\nPPO: reward of replies to {ppo['reward_gain n']:.0f} held-out prompts {ppo['sft_reward']:+.2f} → "
        f"{ppo['reward']:+.2f}, gain {ppo['reward_gain']:+.2f} ± {ppo['reward_gain se']:.2f} (one standard error, "
        f"paired), at a KL of {ppo['kl_nats']:.1f} nats to SFT; "
        f"tokens a reply {ppo['sft_tokens']:.0f} → {ppo['tokens']:.0f}.\n"
    )
    yield "The last user turn of the first held-out prompts, and what came back; a model of this size knows nothing.\n"
    yield "| asked | SFT | PPO 1 |\n| --- | --- | --- |"
    for sample in result["samples"]:
        asked, *replies = sample["messages"][-1][1], sample["before"]["reply"], sample["after"]["reply"]
        yield f"| {' | '.join(map(_cell, (asked, *replies)))} |"
    yield ""


def _cell(text: str) -> str:
    """A line of a table, shortened; what a model wrote is text and no markup."""
    line = escape(" ".join(text.split()), quote=False)
    short = line if len(line) <= MOST_SAMPLE else line[:MOST_SAMPLE].rsplit(" ", 1)[0] + " …"
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", short)


def _judged(name: str, found: Mapping[str, Any]) -> str:
    accuracy, gap = found["accuracy"], found["over_floor"]
    return (
        f"| {name} | {accuracy['n']} | {accuracy['value']:.3f} ({accuracy['low']:.3f} to {accuracy['high']:.3f}) | "
        f"{found['floor']['value']:.3f} (ours {gap['value']:+.3f} ± {gap['standard_error']:.3f}) | "
        f"{found['longer']['value']:.3f} | {found['spearman']['value']:+.2f} |"
    )


def _ladder(result: Mapping[str, Any]) -> Iterator[str]:
    seeds = result["seeds"]
    yield "## The micro-world's ladder\n"
    yield _origin(result)
    yield "\nGold reward on held-out facts, half of the prompts in wordings never seen; in brackets the paired step"
    yield "from the stage before, in standard errors.\n"
    yield "| seed | decoding | " + " | ".join(NAMES[stage] for stage in STAGES) + " | seconds | GB |"
    yield "| --- | --- |" + " --- |" * (len(STAGES) + 2)
    for seed, found in seeds.items():
        for decoding, stages in found["decodings"].items():
            cells = " | ".join(_gold(stages[stage]) for stage in STAGES)
            yield f"| {seed} | {decoding} | {cells} | {found['seconds']} | {found['peak_gigabytes']} |"
    yield "\nSuccess by behaviour at T=0.7, " + " / ".join(f"seed {seed}" for seed in seeds) + ".\n"
    yield "| behaviour | " + " | ".join(NAMES[stage] for stage in STAGES) + " |"
    yield "| --- |" + " --- |" * len(STAGES)
    served = [found["decodings"]["T=0.7"] for found in seeds.values()]
    for behaviour in served[0]["base"]["behaviours"]:
        yield _row(behaviour, served, ("behaviours", behaviour))
    for rate in ("asserts_false", "complies_with_harm", "stock_phrase", "junk"):
        yield _row(rate, served, (rate, "value"))
    yield _row("mean success", served, ("mean_success",)) + "\n"


def _gold(stage: Mapping[str, Any]) -> str:
    if "step" not in stage:
        return f"{stage['gold']:+.2f}"
    return f"{stage['gold']:+.2f} ({stage['step'] / stage['step_standard_error']:+.1f})"


def _row(name: str, served: list[Any], keys: tuple[str, ...]) -> str:
    cells = (" / ".join(f"{reduce(getitem, keys, found[stage]):.2f}" for found in served) for stage in STAGES)
    return f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |"


SECTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]]] = {
    "ladder": _ladder,
    "large": _large,
    "overoptimise": _overoptimise,
    "words": _words,
    "public": _public,
    "kills": _kills,
}
