"""How much memory a recipe's stages take, before anything is loaded.

Each stage is the sum of what it holds at the moment when it holds most: weights, gradients, Adam's
moments, the reference, critic and reward model beside the policy, what a pass keeps for its way
back, logits, the key-value cache. Numbers of a model come from its `config.json`
(`model.footprint`); what lies outside the machine (the hub's model, say) is not opened.

Where rankings are people's, two replies each are assumed; every row is assumed to be full.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from parley.errors import ArtifactError, ConfigError
from parley.model.adapters import AdapterConfig
from parley.model.decoder import DecoderConfig
from parley.model.footprint import MOMENTS, SINGLE, Footprint
from parley.model.weights import read_json
from parley.numerics import NumericPlan
from parley.rlhf.groups import ROW_TOKENS
from parley.stages.base import BaseConfig
from parley.stages.evaluate import EvaluateConfig
from parley.stages.ppo_config import PpoConfig
from parley.stages.recipe import Recipe, Round
from parley.stages.reward import RewardConfig
from parley.stages.sft import SftConfig

PROCESS: Final = {"cpu": 350 << 20, "cuda": 600 << 20}  # torch's own, without any model
SLACK: Final = {"cpu": 1.25, "cuda": 1.1}  # what allocators lose between blocks (measured on a CPU alone)
EVALUATED_ROWS: Final = 256  # replies that evaluations and rankings sample at once
PAIR: Final = 2  # replies to a prompt in people's rankings, nearly always
SHAPES: Final = Path("models")  # beside a recipe: shapes of models that lie on the hub
TOLERANCE: Final = 0.2  # how far an estimate may be off (tested), and so what is kept free
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class StageMemory:
    """A stage at the moment when it holds most; `parts` in bytes, by what they are."""

    label: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """Bytes of all parts together."""
        return sum(self.parts.values())


def memory_plan(recipe: Recipe, recipe_path: Path, plan: NumericPlan) -> tuple[StageMemory, ...]:
    """Every stage that opens a model, in the order of the walk."""
    model = Footprint.of(shape_of(recipe.base, recipe_path))
    larger = Footprint.of(shape_of(recipe.reward_base, recipe_path)) if recipe.reward_base else model
    return tuple(_stages(recipe, model, larger, plan))


def shape_of(config: BaseConfig, recipe_path: Path) -> Mapping[str, Any]:
    """The `config.json` of a base model: from the recipe's own numbers, the directory that it names, or,
    for a model of the hub, the shape that lies beside the recipe (`models/OWNER--NAME.json`)."""
    if not config.from_:
        return DecoderConfig(
            vocab_size=config.vocab_size,
            width=config.width,
            layers=config.layers,
            heads=config.heads,
            kv_heads=config.kv_heads,
            mlp_width=config.mlp_width,
            tied=config.tied,
            max_positions=config.max_positions,
        ).to_hf()
    name = config.from_.partition("@")[0]
    places = (
        Path(name).expanduser() / "config.json",
        recipe_path.parent / SHAPES / f"{name.replace('/', '--')}.json",
    )
    for place in places:
        if place.is_file():
            return read_json(place)
    raise ArtifactError(f"base.from: neither {places[0]} nor {places[1]} says what {name} looks like")


def check_memory(stages: Sequence[StageMemory], free: int) -> None:
    """`ConfigError` with advice where a stage needs more than `free` bytes by more than the tolerance."""
    largest = max(stages, key=lambda stage: stage.total)
    if largest.total <= free * (1 + TOLERANCE):
        return
    part = max(largest.parts, key=lambda name: largest.parts[name])
    raise ConfigError(
        f"{largest.label} needs about {told_bytes(largest.total)} of memory, {told_bytes(free)} are free; most is "
        f"{part} ({told_bytes(largest.parts[part])}): {ADVICE[part]}. --no-memory-check tries it all the same"
    )


ADVICE: Final = {
    "weights": "take a smaller model",
    "gradients and moments": "train adapters instead (adapters: {rank: 16} in sft, reward and ppo)",
    "reference": "train adapters instead (ppo.adapters.rank): the reference is then the same trunk",
    "critic": "train adapters instead (ppo.adapters.rank): the critic then shares the trunk",
    "reward model": "train it with adapters (reward.adapters.rank), with fewer members or without readers",
    "activations": "set micro_tokens, or recompute: true, in that section",
    "logits": "set micro_tokens in that section",
    "cache": "lower ppo.batch, max_prompt_tokens or max_new_tokens",
    "copies": "leave out ema_decay or validation_share",
    "process": "free some memory",
}


def told_bytes(count: float) -> str:
    """`850 MB`, `17.3 GB` (2^30)."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / (1 << 20):.0f} MB"


def _stages(recipe: Recipe, model: Footprint, larger: Footprint, plan: NumericPlan) -> Iterator[StageMemory]:
    if not recipe.base.from_:
        yield _stage("base", _likelihood(model, recipe.base, AdapterConfig(), plan), plan)
    yield _stage("sft", _likelihood(model, recipe.sft, recipe.sft.adapters, plan), plan)
    if recipe.reward_base and not recipe.reward_base.from_:
        yield _stage("base larger", _likelihood(larger, recipe.reward_base, AdapterConfig(), plan), plan)
    for number, entry in enumerate(recipe.rounds, start=1):
        replies = entry.rank.replies if recipe.data.source == "microworld" else PAIR
        if entry.reward.from_ != "rule":
            yield _stage(f"reward {number}", _reward(model, entry.reward, replies, plan), plan)
        if recipe.reward_base and entry.reward.from_ != "rule":
            parts = _reward(larger, entry.reward, replies, plan, readers=model)
            yield _stage(f"reward {number} larger", parts, plan)
        judge = larger if entry.reward.from_ == "larger" else model
        yield _stage(f"ppo {number}", _ppo(model, judge, entry, plan), plan)
    yield _stage("evaluate", _evaluate(model, larger, recipe), plan)


def _stage(label: str, parts: Mapping[str, int], plan: NumericPlan) -> StageMemory:
    told = {"process": PROCESS[_place(plan)], **parts}
    return StageMemory(label, {name: size for name, size in told.items() if size})


def _place(plan: NumericPlan) -> str:
    return "cpu" if plan.device == "cpu" else "cuda"


def _learner(model: Footprint, adapters: AdapterConfig) -> dict[str, int]:
    """A model that learns, and the copy that is made of it while a step is saved."""
    trained = model.adapters(adapters.rank) or model.parameters
    extra = SINGLE * trained if adapters.rank else 0
    return {
        "weights": model.weights + extra,
        "gradients and moments": (SINGLE + MOMENTS) * trained,
        "copies": SINGLE * trained,
    }


@dataclass(frozen=True, slots=True)
class Pass:
    """How many tokens a step reads, how many of them at once, and whether layers are computed again."""

    tokens: int
    row_tokens: int
    micro_tokens: int = 0
    recompute: bool = False

    @property
    def at_once(self) -> int:
        """Tokens in memory together, whole rows of them."""
        limit = max(self.micro_tokens, self.row_tokens) if self.micro_tokens else self.tokens
        return min(self.tokens, limit)


def _pass(
    model: Footprint, read: Pass, plan: NumericPlan, *, learnt: bool, head: bool = True
) -> dict[str, int]:
    """A forward and a backward pass."""
    kept = model.activations(read.at_once, read.row_tokens, plan, recompute=read.recompute)
    working = kept + model.products(plan) + model.at_work(read.at_once, read.row_tokens, plan)
    return {
        "activations": int(working * SLACK[_place(plan)]),
        "logits": model.logits(read.at_once, plan, learnt=learnt) if head else 0,
    }


def _likelihood(model: Footprint, config: Any, adapters: AdapterConfig, plan: NumericPlan) -> dict[str, int]:
    """Pretraining and SFT."""
    rows = max(1, config.batch_tokens // config.row_tokens)
    limits = (config.micro_tokens, config.recompute) if isinstance(config, SftConfig) else ()
    read = Pass(rows * config.row_tokens, config.row_tokens, *limits)
    return _learner(model, adapters) | _pass(model, read, plan, learnt=not adapters.rank)


def _reward(
    model: Footprint,
    config: RewardConfig,
    replies: int,
    plan: NumericPlan,
    *,
    readers: Footprint | None = None,
) -> dict[str, int]:
    """One member; each history stands before its replies once."""
    row = max(ROW_TOKENS, config.context)
    tokens = config.batch_rankings * (config.context + (replies - 1) * config.context // 2)
    parts = _learner(model, config.adapters)
    read = (readers or model).weights * _own_readers(config)
    copied = parts["copies"] * (2 if config.validation_share else 1)
    taken = Pass(tokens, row, config.micro_tokens, config.recompute)
    passed = _pass(model, taken, plan, learnt=not config.adapters.rank, head=config.language_weight > 0)
    return parts | passed | {"reward model": read, "copies": copied}


def _own_readers(config: RewardConfig) -> int:
    """Readers with weights of their own: with adapters SFT's are the trunk's."""
    return sum(1 for name in config.readers if not (config.adapters.rank and name == "sft"))


def _judge(model: Footprint, policy: Footprint, config: RewardConfig, *, shared: bool) -> int:
    """The reward model at work, with its members and readers; a rule weighs nothing."""
    if config.from_ == "rule":
        return 0
    if shared and config.adapters.rank:
        return config.ensemble * SINGLE * model.adapters(
            config.adapters.rank
        ) + policy.weights * _own_readers(config)
    return config.ensemble * model.weights + policy.weights * len(config.readers)


def _ppo(model: Footprint, judge: Footprint, entry: Round, plan: NumericPlan) -> dict[str, int]:
    config, rank = entry.ppo, entry.ppo.adapters.rank
    learner = _learner(model, config.adapters)
    trained = model.adapters(rank) or model.parameters
    average = SINGLE * trained if config.ema_decay else 0
    scored = 0 if config.reward == "gold" else _judge(judge, model, entry.reward, shared=bool(rank))
    parts = {
        "weights": learner["weights"],
        "reference": 0 if rank else model.weights,
        "critic": SINGLE * trained if rank else model.weights,
        "gradients and moments": 2 * learner["gradients and moments"],
        "reward model": scored,
        "copies": learner["copies"] + average,
    }
    return parts | _ppo_pass(model, config, plan)


def _ppo_pass(model: Footprint, config: PpoConfig, plan: NumericPlan) -> dict[str, int]:
    """The wider of sampling and learning: the cache is gone when the update begins."""
    width = config.max_prompt_tokens + config.max_new_tokens
    tokens = -(-config.batch // config.minibatches) * width
    learnt = not config.adapters.rank
    limits = config.micro_tokens, config.recompute
    update = _pass(model, Pass(tokens, width, *limits), plan, learnt=learnt)
    if config.ptx_coefficient:
        row = config.ptx_row_tokens
        mixed = _pass(model, Pass(config.ptx_pieces * row, row, *limits), plan, learnt=learnt)
        update = max(update, mixed, key=lambda parts: sum(parts.values()))
    cache = model.cache(max(config.batch, config.normalising_replies), width)
    return {"cache": cache} if cache > sum(update.values()) else update


def _evaluate(model: Footprint, larger: Footprint, recipe: Recipe) -> dict[str, int]:
    """Replies of the policy; on people's words beside SFT and the reward model."""
    config: EvaluateConfig = recipe.evaluate
    rows = min(config.prompts, EVALUATED_ROWS)
    parts = {
        "weights": model.weights,
        "cache": model.cache(rows, config.max_prompt_tokens + config.max_new_tokens),
    }
    if recipe.data.source == "microworld":
        return parts
    reward = recipe.rounds[-1].reward
    judge = larger if reward.from_ == "larger" else model
    return parts | {"reference": model.weights, "reward model": _judge(judge, model, reward, shared=False)}


def as_json(stages: Sequence[StageMemory], free: int) -> dict[str, Any]:
    """The plan for machines, in bytes."""
    told = [{"stage": stage.label, "bytes": stage.total, "parts": dict(stage.parts)} for stage in stages]
    largest = max(stage.total for stage in stages)
    return {"stages": told, "bytes": largest, "free": free, "fits": largest <= free}
