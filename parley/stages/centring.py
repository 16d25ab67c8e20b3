"""Where the scores of a reward model lie: demonstrations at 0 (rule R5), or the policy's own replies at mean 0
with deviation 1, before training and again after it (rule R6). Neither changes a comparison's sign."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from parley.artifacts import Snapshot, Workspace
from parley.engine.sampler import sample
from parley.errors import ConfigError
from parley.labels import Demonstration
from parley.model.checkpoint import LoadedModel
from parley.model.reward_checkpoint import LoadedReward
from parley.rlhf.batches import TokenSet, permutation
from parley.rlhf.exchanges import exchange_tokens, history_tokens
from parley.rlhf.forward import score_all
from parley.rlhf.rollout import rollout_tokens
from parley.stages.data import demonstrations_of, prompts_of

SMALLEST_DEVIATION = 1e-6  # of scores; below it they are all the same


def centre(out: Workspace, loaded: LoadedReward, told: Snapshot, count: int) -> None:
    """Subtract the mean score of up to `count` demonstrations, from now on (rule R5)."""
    demonstrations = list(demonstrations_of(told))
    order = permutation(len(demonstrations), seed=out.seed_for("centring"))[:count]
    found = (last_exchange(demonstrations[i], loaded) for i in order)
    examples = TokenSet.of(exchange for exchange in found if exchange[0])
    scores = score_all(loaded.model, examples, pad=loaded.tokenizer.pad)
    (model,) = loaded.members
    model.shift += float(scores.mean()) if len(examples) else 0.0


def last_exchange(demonstration: Demonstration, loaded: LoadedReward) -> tuple[list[int], list[bool]]:
    """The last imitated reply to a user's turn with its history, and which tokens are the reply's;
    nothing where there is none."""
    messages = demonstration.conversation.messages
    answers = [n for n in demonstration.imitate if n and messages[n - 1].role == "user"]
    if not answers:
        return [], []
    history = demonstration.conversation.before(answers[-1])
    return exchange_tokens(loaded, history, messages[answers[-1]].text, context=loaded.context)


def own_replies(out: Workspace, policy: LoadedModel, told: Snapshot, *, count: int, context: int) -> TokenSet:
    """`count` replies of the policy to prompts, each within half of the context."""
    prompts = prompts_of(told)
    if not prompts:
        raise ConfigError("reward.normalising_replies needs prompts, and the data section gives none")
    order = permutation(len(prompts), seed=out.seed_for("normalising prompts"))
    chosen = [prompts[int(order[n % len(order)])] for n in range(count)]
    longest = context // 2
    histories = [history_tokens(policy, one.conversation, max_tokens=context - longest) for one in chosen]
    completions = sample(
        policy.decoder,
        histories,
        max_new_tokens=longest,
        temperature=1.0,
        end_id=policy.tokenizer.end,
        generator=torch.Generator(out.plan.device).manual_seed(out.seed_for("normalising replies")),
    )
    return rollout_tokens(histories, completions)


def normalise(loaded: LoadedReward, replies: TokenSet) -> None:
    """From now on the scores of these replies have mean 0 and deviation 1 (rule R6)."""
    scores = score_all(loaded.model, replies, pad=loaded.tokenizer.pad)
    deviation = max(float(scores.std(unbiased=False)), SMALLEST_DEVIATION)
    (model,) = loaded.members
    model.rescale(1 / deviation, -float(scores.mean()) / deviation)


def place_scores(
    out: Workspace, loaded: LoadedReward, told: Snapshot, replies: Sequence[TokenSet], *, centring: int
) -> None:
    """After training: on the policy's own replies where there are some, else on demonstrations."""
    for part in replies:
        normalise(loaded, part)
    if not replies:
        centre(out, loaded, told, centring)
