"""`docs/concepts/curves.md` and its pictures, from the runs in `docs/results/curves.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from parley.reports.figures import MINUS
from parley.reports.html import tag
from parley.reports.look import TOKENS
from parley.reports.svg import Series, compared

CONCEPTS: Final = Path(__file__).parent / "concepts"
IMAGES: Final = Path(__file__).parent / "images"
NOTE: Final = "<!-- Written by `python -m docs.generate` from docs/results/curves.json. Do not edit. -->"
SHOWN: Final = {
    "base loss": ("base", "loss", "loss, nats a token"),
    "sft loss": ("sft", "loss", "loss, nats a token"),
    "reward accuracy": ("reward 1", "accuracy", "accuracy on its batch"),
    "score": ("ppo 1", "score", "reward model’s score"),
    "gold": ("ppo 1", "gold", "gold reward"),
    "kl": ("ppo 1", "kl_nats", "KL to SFT, nats a reply"),
    "length": ("ppo 1", "length_tokens", "tokens a reply"),
    "ended": ("ppo 1", "ended", "share of replies that end"),
    "explained": ("ppo 1", "explained_variance", "explained variance"),
    "approx kl": ("ppo 1", "approx_kl", "KL of an update, nats a token"),
    "clipped": ("ppo 1", "clip_fraction", "share of tokens clipped"),
}
BEFORE: Final = ("base loss", "sft loss", "reward accuracy")
PICTURES: Final = {
    "no-kl": ("score", "gold", "kl"),
    "temperature": ("score", "gold", "kl"),
    "rate": ("kl", "clipped", "length"),
}
TITLES: Final = {
    "no-kl": "No price of KL",
    "temperature": "The temperature is forgotten",
    "rate": "A rate that is too high",
}
HEALTHY: Final = """\
In PPO score and gold rise together and flatten while the rate falls to 0. The KL climbs at once, bends, and stays at a
nat or two. Replies become a little shorter and nearly all keep ending. The critic soon explains most of the returns. An
update moves the policy by thousandths of a nat a token and clips a few tokens in a hundred, ever fewer.
"""
WORDS: Final = {
    "no-kl": "No check fails, since nothing is wrong with the code. The proxy ends higher than in health and gold "
    "lower (one seed), at several times the KL: what the reward model gets wrong is bought with distance from SFT. "
    "Never read a score without the KL beside it.",
    "temperature": "Both log-probabilities of a ratio are the learner’s, so the ratio is 1 and every curve looks "
    "well, even a little better: colder replies are better replies. But the gradient is that of another policy than "
    "the one that wrote them. The doctor compares how surprising the sampled tokens are with the entropy that they "
    "were drawn from.",
    "rate": "The first updates throw the policy far away: the KL jumps, a fifth of the tokens is clipped. Then all "
    "replies have one length, and the later curves are calm: score, critic and ends look well. The length and the KL "
    "tell, and the samples.",
}


def curve_pages(path: Path) -> dict[Path, str]:
    """The page and every picture of it; nothing where no run was measured."""
    if not path.exists():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    runs = found["runs"]
    healthy = {name: run for name, run in runs.items() if name.startswith("healthy")}
    pages = {CONCEPTS / "curves.md": "\n".join(_page(found, healthy)).rstrip() + "\n"}
    for key in SHOWN:
        pages[_file("healthy", key)] = _picture(key, healthy)
    for fault, keys in PICTURES.items():
        for key in keys:
            pages[_file(fault, key)] = _picture(key, healthy, {TITLES[fault].lower(): runs[fault]})
    return pages


def _file(group: str, key: str) -> Path:
    return IMAGES / f"curve-{group}-{key.replace(' ', '-')}.svg"


def _page(found: Mapping[str, Any], healthy: Mapping[str, Any]) -> Iterator[str]:
    runs = found["runs"]
    yield f"{NOTE}\n\n# Curves of healthy and of sick runs\n"
    yield (
        f"{found['what']} Seeds {', '.join(str(run['seed']) for run in healthy.values())}; commit "
        f"`{found['commit'][:12]}`; {found['seconds']} s in all; every number is in `docs/results/curves.json`. To "
        "measure them anew: `python -m benchmarks.curves --seeds 1 2 3 --out docs/results/curves.json`. Your own "
        "run’s curves stand in its report and on the run page; `parley doctor` replays one of its batches.\n"
    )
    yield "## Healthy\n"
    yield "One line a seed, each a moving mean over five steps. Yours will differ in height: compare shapes.\n"
    yield from _pictures("healthy", BEFORE)
    yield "Base and SFT fall steeply, then flatten. The ranking accuracy leaves one half within the first steps.\n"
    yield from _pictures("healthy", [key for key in SHOWN if key not in BEFORE])
    yield HEALTHY
    failed = sum(len(run["failed"]) for run in healthy.values())
    checks = sum(run["checks"] for run in healthy.values())
    yield f"Of the doctor’s {checks} checks of these runs {failed or 'none'} failed.\n"
    yield from _table(healthy)
    yield "## Sick\n"
    yield "The first seed’s run up to PPO, with one fault planted there (dashed), against the healthy seeds.\n"
    for fault, keys in PICTURES.items():
        yield f"### {TITLES[fault]}\n"
        yield f"Planted: {runs[fault]['fault']}. {WORDS[fault]}\n"
        yield from _pictures(fault, keys)
        yield from _table({"healthy": next(iter(healthy.values())), "sick": runs[fault]})
        yield from _verdict(runs[fault])


def _pictures(group: str, keys: Sequence[str]) -> Iterator[str]:
    yield (
        "".join(
            f'<img src="../images/{_file(group, key).name}" width="32%" alt="{SHOWN[key][2]}"> '
            for key in keys
        )
        + "\n"
    )


def _table(runs: Mapping[str, Any]) -> Iterator[str]:
    """Means over the last fifth of the steps of PPO."""
    columns = [key for key in SHOWN if key not in BEFORE]
    yield f"| last fifth of the steps | {' | '.join(SHOWN[key][2] for key in columns)} |"
    yield "| --- |" + " --- |" * len(columns)
    for name, run in runs.items():
        yield f"| {name} | {' | '.join(_last(run, key) for key in columns)} |"
    yield ""


def _verdict(run: Mapping[str, Any]) -> Iterator[str]:
    if run["stopped"]:
        yield f"The run stopped itself: {run['stopped']}\n"
    if not run["failed"]:
        yield f"None of the doctor’s {run['checks']} checks fails.\n"
        return
    yield f"What fails of the doctor’s {run['checks']} checks:\n"
    for name, told in run["failed"]:
        yield f"- {name}: {told}"
    yield ""


def _last(run: Mapping[str, Any], key: str) -> str:
    values = [value for _, value in _points(run, key)]
    part = values[-max(1, len(values) // 5) :]
    return f"{sum(part) / len(part):.3g}".replace("-", MINUS) if part else "–"


def _points(run: Mapping[str, Any], key: str) -> list[tuple[float, float]]:
    stage, name, _ = SHOWN[key]
    return [(float(step), float(value)) for step, value in run["curves"].get(stage, {}).get(name, [])]


def _picture(key: str, healthy: Mapping[str, Any], sick: Mapping[str, Any] | None = None) -> str:
    series = [Series(name, "first", _points(run, key)) for name, run in healthy.items()]
    series += [Series(name, "second", _points(run, key)) for name, run in (sick or {}).items()]
    drawn = compared(SHOWN[key][2], [one for one in series if one.points], y_label=SHOWN[key][2])
    return (
        drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
            "</title>", f"</title>{_style()}", 1
        )
        + "\n"
    )


def _style() -> str:
    """The report's colours; a picture of its own has no page around it."""
    light, dark = (";".join(f"--{name}:{pair[n]}" for name, pair in TOKENS.items()) for n in (0, 1))
    rules = (
        f"svg{{{light};font-family:system-ui,sans-serif}}@media(prefers-color-scheme:dark){{svg{{{dark}}}}}"
        "text{font-size:11px;fill:var(--muted)}.grid{stroke:var(--line)}.base{stroke:var(--edge)}"
        "polyline{fill:none;stroke-linejoin:round;stroke-width:1.6}.first{stroke:var(--accent)}"
        ".second{stroke:var(--bad);stroke-dasharray:5 3}"
    )
    return str(tag("style")).replace("></", f">{rules}</")
