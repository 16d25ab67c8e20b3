"""Comparisons, as the announcement collected them.

Trainers talk with the chatbot; a model-written message is selected at random; alternative
completions of the same history are sampled; trainers rank them. Here simulated people do it in
the micro-world; people's own rankings come with the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch

from parley.artifacts import Checkpoint, RankingSet, Snapshot, Workspace
from parley.config import check_bounds
from parley.dialogue import Conversation, Message
from parley.engine.sampler import sample
from parley.errors import ConfigError
from parley.labels import MAX_REPLIES, MIN_REPLIES, Prompt, Ranking
from parley.microworld.dialogues import demonstrated_reply
from parley.microworld.situations import Situation
from parley.microworld.trainers import Panel, TrainerConfig
from parley.microworld.users import Script, Turn, scripts
from parley.microworld.world import Split, World
from parley.model.checkpoint import LoadedModel, load_checkpoint
from parley.rlhf.exchanges import history_tokens
from parley.stages.data import world_of
from parley.stages.records import ranking_row, write_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RankConfig:
    """Collection of comparisons from the current policy."""

    rankings: int = 2400
    """Messages drawn and ranked for training."""
    held_out: int = 330
    """Rankings on held-out facts by noise-free trainers, for measuring the reward model."""
    replies: int = 6
    """K: alternative completions of each message (2 to 9, demonstrations among them)."""
    with_demonstration: bool = True
    """Whether a trainer's own reply is ranked beside the K - 1 sampled ones."""
    temperature: float = 1.0
    """Of conversations and completions."""
    max_new_tokens: int = 32
    """Longest reply."""
    max_prompt_tokens: int = 96
    """Longest history; older turns are dropped."""
    trainers: TrainerConfig = field(default_factory=TrainerConfig)
    """Who ranks."""

    def __post_init__(self) -> None:
        check_bounds(self, rankings=(1, inf), held_out=(1, inf), replies=(MIN_REPLIES, MAX_REPLIES))
        check_bounds(self, temperature=(0, inf), max_new_tokens=(1, inf), max_prompt_tokens=(8, inf))


def collect_rankings(out: Workspace, policy: Checkpoint, told: Snapshot, config: RankConfig) -> RankingSet:
    """Rankings of the policy's replies at randomly selected places of conversations with it."""
    world = world_of(told)
    if world is None:
        raise ConfigError(
            "a second round needs people who rank the new policy's replies: files hold none (rounds: 1), "
            "collect them in the console"
        )
    model = load_checkpoint(policy.path, out.plan)
    collector = Collector(out, world, model, policy.digest[:12], config)
    kept = list(collector.rankings("train", config.rankings, config.trainers))
    fair = TrainerConfig(noise_sd=0.0)
    unseen = list(collector.rankings("validation", config.held_out, fair))
    write_rows(out.file("rankings.jsonl"), (ranking_row(item) for item in kept))
    write_rows(out.file("rankings-held-out.jsonl"), (ranking_row(item) for item in unseen))
    pairs = sum(len(item.comparisons()) for item in kept)
    return out.seal(RankingSet, {"rankings": float(len(kept)), "pairs": float(pairs)})


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation with the policy. `open_at` lists the model-written messages with what a reply
    there is judged by."""

    conversation: Conversation
    open_at: tuple[tuple[int, Situation], ...]


@dataclass(frozen=True, slots=True)
class Collector:
    """Conversations with one policy, and rankings of its replies."""

    out: Workspace
    world: World
    model: LoadedModel
    author: str  # who signs sampled messages: the policy's digest, shortened
    config: RankConfig

    def rankings(self, split: Split, count: int, trainers: TrainerConfig) -> Iterator[Ranking]:
        """`count` rankings of messages drawn from conversations about this split's facts."""
        script_seed = self.out.seed_for(f"{split} scripts")
        talks = self.talks(scripts(self.world, count, script_seed, split=split), split)
        chosen = draw_messages(talks, count, seed=self.out.seed_for(f"{split} draw"))
        write_rows(self.out.file(f"draws-{split}.jsonl"), ({"talk": t, "message": m} for t, m in chosen))
        prompts = [_prompt(talks[talk], message) for talk, message in chosen]
        panel = Panel.build(trainers, self.out.seed_for(f"{split} panel"))
        replies = self.replies(prompts, split)
        for number, (prompt, texts) in enumerate(zip(prompts, replies, strict=True)):
            situation = Situation.of_text(prompt.situation)
            rank_seed = self.out.seed_for(f"{split} ranking", number)
            ranks, trainer = panel.rank(self.world, situation, [m.text for m in texts], rank_seed)
            yield Ranking(prompt.conversation, tuple(texts), ranks, trainer, situation.kind)

    def talks(self, told: Sequence[Script], split: str) -> list[Talk]:
        """The scripts played with the policy, turn by turn; planted answers are put, not sampled."""
        talks = [Talk(Conversation(()), ()) for _ in told]
        for depth in range(max(len(script.turns) for script in told)):
            live = [n for n, script in enumerate(told) if depth < len(script.turns)]
            asked = {n: talks[n].conversation.ask(told[n].turns[depth].user) for n in live}
            free = [n for n in live if not told[n].turns[depth].planted]
            texts = self.sampled([asked[n] for n in free], f"{split} talk", depth)
            said = dict(zip(free, texts, strict=True))
            for n in live:
                turn = told[n].turns[depth]
                talks[n] = _continued(talks[n], asked[n], turn, self.author, said.get(n))
        return talks

    def replies(self, prompts: Sequence[Prompt], split: str) -> list[list[Message]]:
        """K replies to each prompt: sampled ones, and a trainer's own where that is asked for."""
        own = int(self.config.with_demonstration)
        sampled = self.config.replies - own
        histories = [prompt.conversation for prompt in prompts for _ in range(sampled)]
        texts = self.sampled(histories, f"{split} completions", 0)
        found = []
        for n, prompt in enumerate(prompts):
            messages = [
                Message("assistant", text, self.author) for text in texts[n * sampled : (n + 1) * sampled]
            ]
            if own:
                seed = self.out.seed_for(f"{split} demonstration", n)
                previous = (
                    prompt.conversation.messages[-2].text if len(prompt.conversation.messages) > 1 else ""
                )
                situation = Situation.of_text(prompt.situation)
                text = demonstrated_reply(self.world, situation, seed, previous=previous)
                messages.append(Message("assistant", text, "trainer"))
            found.append(messages)
        return found

    def sampled(self, histories: Sequence[Conversation], stream: str, step: int) -> list[str]:
        """One reply to each history."""
        prompts = [
            history_tokens(self.model, history, max_tokens=self.config.max_prompt_tokens)
            for history in histories
        ]
        seed = self.out.seed_for(stream, step)
        completions = sample(
            self.model.decoder,
            prompts,
            max_new_tokens=self.config.max_new_tokens,
            temperature=self.config.temperature,
            end_id=self.model.tokenizer.end,
            generator=torch.Generator(self.out.plan.device).manual_seed(seed),
            batch_size=256,
        )
        return [self.model.tokenizer.decode(done.tokens) for done in completions]


def draw_messages(talks: Sequence[Talk], count: int, *, seed: int) -> list[tuple[int, int]]:
    """`count` model-written messages, as (talk, place in `open_at`), drawn uniformly without
    replacement from all of them; all, in a random order, where there are not more."""
    places = [(n, k) for n, talk in enumerate(talks) for k in range(len(talk.open_at))]
    order = np.random.default_rng(seed).permutation(len(places))[:count]
    return [places[i] for i in order]


def _prompt(talk: Talk, place: int) -> Prompt:
    index, situation = talk.open_at[place]
    return Prompt(talk.conversation.before(index), "microworld", situation.to_text())


def _continued(talk: Talk, asked: Conversation, turn: Turn, author: str, sampled: str | None) -> Talk:
    """The talk after this turn; a planted answer was not sampled and is never drawn."""
    if sampled is None:
        return Talk(asked.reply(turn.planted, author="planted"), talk.open_at)
    place = (len(asked.messages), turn.situation)
    return Talk(asked.reply(sampled, author=author), (*talk.open_at, place))
