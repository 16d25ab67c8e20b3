"""`docs/results.md` from the JSON results that `make prove` wrote: what was measured, failures included."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from html import escape
from operator import getitem
from pathlib import Path
from typing import Any, Final

from parley.reports import svg
from parley.reports.look import picture

NOTE: Final = "<!-- Written by `python -m docs.generate` from docs/results. Do not edit. -->"
HEAD: Final = """\
# Results

What `make prove` measured, on two cores of a shared virtual machine without a GPU. Each section names the commit.
A figure that is not here was not measured.
"""
MOST_SAMPLE: Final = 160  # characters of a table's cell
STORIES: Final = {
    "score": "replies that keep the rule",
    "kl_nats": "KL to SFT, nats",
    "length_tokens": "tokens a reply",
}
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


def result_pictures(directory: Path) -> dict[Path, str]:
    """The curves beside the page, from the same results."""
    path = directory / "stories.json"
    if not path.exists():
        return {}
    runs = json.loads(path.read_text(encoding="utf-8"))["seeds"].values()
    return {
        directory / f"stories-{column}.svg": picture(
            svg.runs(
                f"stories260K, {name}",
                [[(row["step"], row[column]) for row in run["curve"]] for run in runs],
                y_label=name,
            )
        )
        for column, name in STORIES.items()
    }


def _origin(result: Mapping[str, Any]) -> str:
    return f"{result['what']} Commit `{result['commit'][:12]}`."


def _kills(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Killed and resumed\n"
    yield _origin(result)
    yield f"\n{result['kills']} kills, each while the run was at work: every weight is bitwise equal."
    yield f"The undisturbed smoke run took {result['seconds']:.0f} s.\n"


def _everything(result: Mapping[str, Any]) -> Iterator[str]:
    steps = ", ".join(map(str, result["killed_after_steps"]))
    options = ", ".join(f"`{name}`" for name in result["config"])
    yield "## PPO with everything on, killed and resumed\n"
    yield _origin(result)
    yield f"\nTiny models, {result['steps']} steps, {result['kills']} kills, after steps {steps}. Set: {options}.\n"


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


def _stories(result: Mapping[str, Any]) -> Iterator[str]:
    seeds = result["seeds"]
    yield "## A reward that is checked, on a real model\n"
    yield _origin(result)
    yield (
        f"\n`{result['recipe']}`, {result['prompts']} held-out openings, replies sampled at T=1. Steps of PPO: "
        f"{result['steps']} of {result['batch']} replies.\n"
    )
    yield "| seed | SFT | PPO | gain, paired | in standard errors | KL, nats | tokens | different | seconds |"
    yield "| --- |" + " --- |" * 8
    for seed, found in seeds.items():
        yield _story_row(seed, found)
    yield (
        "\n*different*: of all triples of words in the replies to the first openings, the share that occurs once; it "
        "falls where replies become alike.\n"
    )
    yield from (f"![{name}](results/stories-{column}.svg)" for column, name in STORIES.items())
    yield "\nHow often each check is met, SFT → PPO, " + " / ".join(f"seed {seed}" for seed in seeds) + ".\n"
    yield "| check | SFT | PPO |\n| --- | --- | --- |"
    for check in next(iter(seeds.values()))["checks"]:
        cells = (
            " / ".join(f"{found['checks'][check][when]:.2f}" for found in seeds.values())
            for when in ("before", "after")
        )
        yield f"| {check} | " + " | ".join(cells) + " |"
    yield "\nThe first replies of the first seed, not picked:\n"
    for sample in next(iter(seeds.values()))["samples"]:
        yield f"- *{_line(sample['messages'][-1][1])}*"
        yield f"  - SFT ({sample['before']['score']:.0f}): {_line(sample['before']['reply'])}"
        yield f"  - PPO ({sample['after']['score']:.0f}): {_line(sample['after']['reply'])}"
    yield ""


def _story_row(seed: str, found: Mapping[str, Any]) -> str:
    figures, different = found["figures"], found["different"]
    gain, error = figures["reward_gain"], figures["reward_gain se"]
    return (
        f"| {seed} | {figures['sft_reward']:.3f} | {figures['reward']:.3f} | {gain:+.3f} ± {error:.3f} | "
        f"{gain / error:.1f} | {figures['kl_nats']:.1f} | {figures['sft_tokens']:.0f} → {figures['tokens']:.0f} | "
        f"{different['before']:.2f} → {different['after']:.2f} | {found['seconds']} |"
    )


def _line(text: str) -> str:
    return " ".join(text.split()).replace("*", "\\*").replace("_", "\\_").replace("<", "\\<")


def _learning(result: Mapping[str, Any]) -> Iterator[str]:
    arms, seeds = result["arms"], result["seeds"]
    yield "## What each part buys\n"
    yield _origin(result)
    yield f"\n{result['budget']}\n"
    yield (
        f"Gold reward of sampled replies to {result['prompts']} prompts about held-out facts, less that of the arm "
        "it is held against (PPO without options, where nothing else is said), prompt by prompt. *Pooled* has two "
        "95 % intervals: over prompts, for these seeds (normal), and over the "
        "seeds (Student's t with one degree of freedom less than there are), which is what may be hoped for on "
        "another seed. Tax: bits per byte of held-out base text; KL: nats a reply to SFT; accuracy: of the reward "
        "model on rankings kept apart.\n"
    )
    yield (
        "| arm | " + " | ".join(f"seed {seed}" for seed in seeds) + " | pooled | over prompts | over seeds | "
        "gold | KL | tax | tokens | accuracy |"
    )
    yield "| --- |" + " --- |" * (len(seeds) + 8)
    for arm in arms.values():
        yield _arm(arm, seeds)
    if result["missing"]:
        yield (
            "\nNot finished: "
            + "; ".join(result["missing"])
            + ". Such a row has the intervals of its own seeds."
        )
    yield ""


def _arm(arm: Mapping[str, Any], seeds: Sequence[str]) -> str:
    mean = arm["mean"]
    shown = (
        ("gold", "+.2f"),
        ("kl_nats", ".1f"),
        ("bits_per_byte", ".3f"),
        ("tokens", ".1f"),
        ("accuracy", ".3f"),
    )
    level = " | ".join(f"{mean[key]:{form}}" if key in mean else "" for key, form in shown)
    if "pooled" not in arm:
        return f"| {arm['question']} |" + " |" * (len(seeds) + 3) + f" {level} |"
    gaps = arm["difference"]
    by_seed = " | ".join(f"{gaps[seed]['value']:+.2f}" if seed in gaps else "" for seed in seeds)
    pooled = arm["pooled"]
    return (
        f"| {arm['question']} | {by_seed} | {pooled['value']:+.3f} | ±{pooled['over_prompts']:.3f} | "
        f"±{pooled['over_seeds']:.3f} | {level} |"
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


def _generate(result: Mapping[str, Any]) -> Iterator[str]:
    rows = {(row["size"], row["batch"], row["name"]): row for row in result["rows"]}
    cases = sorted({key[:2] for key in rows}, key=lambda case: (-len(case[0]), case[0], case[1]))
    names = list(dict.fromkeys(row["name"] for row in result["rows"]))
    yield "## Generation beside its peers\n"
    yield _origin(result)
    speeds = ", ".join(
        f"{size} {speed / 1e9:.0f} GB/s" for size, speed in result["reading_bytes_per_second"].items()
    )
    yield f"\nNew tokens a second, prompts included. {result['machine']}; weights are read at {speeds}.\n"
    yield "| | " + " | ".join(f"{size}, batch {batch}" for size, batch in cases) + " |"
    yield "| --- |" + " --- |" * len(cases)
    for name in names:
        yield f"| {name} | " + " | ".join(_speed(rows.get((*case, name))) for case in cases) + " |"
    yield "\nShare of tokens that are the fp32 model's own choice, then how many are not though it was clear by 0.01;"
    yield "of the engine also the largest gap of its log-probabilities to the trainer's, in nats.\n"
    yield "| | " + " | ".join(f"{size}, batch {batch}" for size, batch in cases) + " |"
    yield "| --- |" + " --- |" * len(cases)
    for name in names:
        yield f"| {name} | " + " | ".join(_agreement(rows.get((*case, name))) for case in cases) + " |"
    yield "\n| size, batch | goal | measured | |\n| --- | --- | --- | --- |"
    for goal in result["goals"]:
        other = (
            f"{goal['theirs']}, {goal['factor']:g} times"
            if goal["theirs"]
            else f"the roofline, {goal['factor']:g} of it"
        )
        met = "met" if goal["met"] else "**not met**"
        yield f"| {goal['size']}, {goal['batch']} | {goal['ours']} against {other} | {goal['value']:.2f} | {met} |"
    for name, why in {**result["missing"], **result["skipped"]}.items():
        yield f"\nNot measured: {name} ({why})."
    yield ""


def _speed(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    share = "" if row["roofline"] is None else f" ({row['roofline']:.2f} of the roofline)"
    return f"{row['tokens_per_second']:,.0f}{share}"


def _agreement(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    judged = row["judged"]
    gap = "" if judged["logprob_gap"] is None else f", {judged['logprob_gap']:.1g}"
    return f"{judged['equal']:.1%}, {judged['wrong']}{gap}"


def _train(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Training speed beside TRL\n"
    yield _origin(result)
    yield (
        f"\n{result['machine']}; one core, one thread, a process a case, all of a task's cases in turns "
        "(`benchmarks/train.py`). Rates by CPU seconds, medians over rounds; ratios are ours over theirs, medians "
        "of the rounds' own. TRL at its best: SFT packed, without checkpointing; reward models without it.\n"
    )
    yield "| task | side | a second | peak GB | speed | goal | memory |\n| --- | --- | --- | --- | --- | --- | --- |"
    for name, task in result["tasks"].items():
        for side, found in task["sides"].items():
            ratio = task["ratios"].get(side)
            beside = (
                f"{ratio['speed']:.2f}× | {ratio['goal']:g}× | {ratio['memory']:.2f}×" if ratio else "| |"
            )
            rate = f"{found['rate']:.4g} {task['unit']}"
            yield f"| {name} | {side} | {rate} | {found['peak_gigabytes']:.2f} | {beside} |"
    yield "\n| task | check in fp32 | rounds |\n| --- | --- | --- |"
    for name, task in result["tasks"].items():
        yield f"| {name} | {_checked(task['checks'])} | {len(next(iter(task['sides'].values()))['rates'])} |"
    yield ""


def _checked(checks: Mapping[str, Any]) -> str:
    if "largest difference" in checks:
        return f"losses of {len(checks['losses'])} steps differ by {checks['largest difference']:.1g} at most"
    if "scores" in checks:
        first, last = checks["scores"][0], checks["scores"][-1]
        return (
            f"first KL {checks['first KL, nats']:.1g} nats; score {first:+.3f} → {last:+.3f} over "
            f"{len(checks['scores'])} updates"
        )
    return "not checked"


def _mutations(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Planted errors\n"
    yield _origin(result)
    yield (
        f"\n{result['planted']} planted one by one (`tests/mutations.py`), {result['killed']} noticed. "
        + (
            "None survived.\n"
            if not result["survivors"]
            else f"Survived: {'; '.join(result['survivors'])}.\n"
        )
    )
    rules: dict[str, int] = {}
    for item in result["each"]:
        rules[item["rule"]] = rules.get(item["rule"], 0) + 1
    yield "By rule: " + ", ".join(f"{rule} {count}" for rule, count in sorted(rules.items())) + ".\n"


SECTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]]] = {
    "ladder": _ladder,
    "large": _large,
    "learning": _learning,
    "overoptimise": _overoptimise,
    "words": _words,
    "public": _public,
    "stories": _stories,
    "kills": _kills,
    "generate": _generate,
    "everything": _everything,
    "mutations": _mutations,
    "train": _train,
}
