"""Planted errors: would the tests notice?

Each mutation is one wrong line in a loss, an advantage, a mask or what feeds them. It is written into a copy
of the package, the tests that are named for it run there, and at least one of them has to fail. All of them:
`python -m tests.prove mutations`; a few in every `make test`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """`right` in `file`, where it stands once, becomes `wrong`; `tests` have to notice. `rule` is what it breaks."""

    rule: str
    what: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]

    def planted(self, text: str) -> str:
        """The file's text with the error in it."""
        if text.count(self.right) != 1:
            raise ValueError(
                f"{self.file}: {self.right!r} stands there {text.count(self.right)} times, not once"
            )
        return text.replace(self.right, self.wrong)


SIGHT, ATTENTION = "parley/model/sight.py", "parley/model/attention.py"
LOSSES, ADVANTAGES = "parley/rlhf/losses.py", "parley/rlhf/advantages.py"
ROLLOUT, BATCHES = "parley/rlhf/rollout.py", "parley/rlhf/batches.py"
FORWARD, GROUPS, LOOP = "parley/rlhf/forward.py", "parley/rlhf/groups.py", "parley/rlhf/loop.py"
BY_HAND, ORACLES = "tests/rlhf/test_losses.py", "tests/rlhf/test_oracles.py"
ESTIMATES, LAYOUT = "tests/rlhf/test_advantages.py", "tests/rlhf/test_batches.py"
TREES, SAME = "tests/rlhf/test_groups.py", "tests/rlhf/test_invariance.py"
CHAIN = f"{ORACLES}::test_from_scores_to_advantages_and_returns_as_in_the_loop"
POLICY = f"{ORACLES}::test_the_policy_loss_and_its_slope_equal_the_loop"
VALUE = f"{ORACLES}::test_the_value_loss_and_its_slope_equal_the_loop"
SFT = f"{ORACLES}::test_the_sft_loss_is_the_mean_over_all_supervised_tokens"
RANKING = f"{BY_HAND}::test_ranking_loss_equals_brute_force_over_pairs"

MUTATIONS: tuple[Mutation, ...] = (
    Mutation("P12", "mean over all positions instead of the masked ones", LOSSES,
             "total / mask.sum().clamp(min=1) if count", "total / mask.numel() if count", (POLICY, SFT)),
    Mutation("P12", "what stands off the mask is added too", LOSSES,
             "total = values.masked_fill(~mask, 0.0).sum()", "total = values.sum()", (POLICY, SFT)),
    Mutation("S1", "the mask the wrong way round", LOSSES,
             "total = values.masked_fill(~mask, 0.0).sum()", "total = values.masked_fill(mask, 0.0).sum()", (SFT,)),
    Mutation("S1", "likelihood minimised", LOSSES,
             "return -masked_mean(logprobs, mask, count=count)", "return masked_mean(logprobs, mask, count=count)",
             (SFT,)),
    Mutation("R1", "the worse reply wins", LOSSES,
             "margin = (scores[better] - scores[worse]).float()", "margin = (scores[worse] - scores[better]).float()",
             (RANKING,)),
    Mutation("R1", "every pair weighs the same, not every ranking", LOSSES,
             "weight = 1.0 / pairs[group]", "weight = torch.ones_like(margin) / pairs.mean()", (RANKING,)),
    Mutation("R2", "rankings of ties alone count in the mean", LOSSES,
             "counted = (pairs > 0).sum().clamp(min=1)", "counted = torch.tensor(num_groups)", (RANKING,)),
    Mutation("R2", "ties make pairs", "parley/labels.py",
             "if self.values[i] != self.values[j]:", "if True:", ("tests/test_values.py",)),
    Mutation("R9", "a logarithm of a sigmoid that overflows", LOSSES,
             "-functional.logsigmoid(margin if margins is None else margin - margins)",
             "-torch.log(torch.sigmoid(margin if margins is None else margin - margins))",
             (f"{BY_HAND}::test_ranking_loss_survives_huge_margins",)),
    Mutation("P10", "the better of the two surrogates", LOSSES,
             "loss = masked_mean(torch.maximum(unclipped, clipped), mask, count=count)",
             "loss = masked_mean(torch.minimum(unclipped, clipped), mask, count=count)", (POLICY,)),
    Mutation("P10", "clipped on one side only", LOSSES,
             "ratio.clamp(1 - clip, 1 + clip)", "ratio.clamp(max=1 + clip)", (POLICY,)),
    Mutation("P10", "never clipped", LOSSES,
             "clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)", "clipped = unclipped", (POLICY,)),
    Mutation("P10", "the ratio upside down", LOSSES,
             "log_ratio = (logprobs - old_logprobs)", "log_ratio = (old_logprobs - logprobs)", (POLICY,)),
    Mutation("P10", "advantages with the wrong sign", LOSSES,
             "unclipped = -advantages * ratio", "unclipped = advantages * ratio", (POLICY,)),
    Mutation("P11", "the smaller of the two errors", LOSSES,
             "0.5 * masked_mean(torch.maximum(plain, clipped), mask",
             "0.5 * masked_mean(torch.minimum(plain, clipped), mask", (VALUE,)),
    Mutation("P11", "not half the square", LOSSES,
             "0.5 * masked_mean(torch.maximum(plain, clipped), mask",
             "masked_mean(torch.maximum(plain, clipped), mask", (VALUE,)),
    Mutation("P11", "clipped around the return", LOSSES,
             "change = values - old_values", "change = values - returns", (VALUE,)),
    Mutation("P4", "k3 without its linear term", LOSSES,
             "return torch.expm1(-log_ratio) + log_ratio", "return torch.expm1(-log_ratio)",
             (f"{BY_HAND}::test_k3_is_an_unbiased_nonnegative_estimate",)),
    Mutation("P4", "k3 of the ratio upside down", LOSSES,
             "return torch.expm1(-log_ratio) + log_ratio", "return torch.expm1(log_ratio) - log_ratio",
             (f"{BY_HAND}::test_k3_is_an_unbiased_nonnegative_estimate",)),
    Mutation("P4", "the KL is a gift, not a price", ADVANTAGES,
             "(-kl_coefficient * (logprobs", "(kl_coefficient * (logprobs", (CHAIN,)),
    Mutation("P4", "the KL paid on the prompt and on padding too", ADVANTAGES,
             "(logprobs - ref_logprobs)).masked_fill(~mask, 0.0)", "(logprobs - ref_logprobs))",
             (f"{ESTIMATES}::test_the_score_falls_on_the_last_response_token",)),
    Mutation("P5", "the score on every token", ADVANTAGES,
             "return rewards + last_token(mask) * scores[:, None]", "return rewards + mask * scores[:, None]",
             (CHAIN,)),
    Mutation("P5", "the score on the first token", ADVANTAGES,
             "later = mask.flip(1).cumsum(1).flip(1)", "later = mask.cumsum(1)", (CHAIN,)),
    Mutation("P5", "the score one place early", ADVANTAGES,
             "return mask & (later == 1)", "return mask & (later == 2)", (CHAIN,)),
    Mutation("P7", "GAE off by one: its own value in the place of the next", ADVANTAGES,
             "discount * next_value - values[:, t]", "discount * values[:, t] - values[:, t]", (CHAIN,)),
    Mutation("P7", "the last token is not reached", ADVANTAGES,
             "range(rewards.shape[1] - 1, -1, -1)", "range(rewards.shape[1] - 2, -1, -1)", (CHAIN,)),
    Mutation("P7", "λ forgotten", ADVANTAGES,
             "delta + discount * trace_decay * carry", "delta + discount * carry", (CHAIN,)),
    Mutation("P7", "γ forgotten in the trace", ADVANTAGES,
             "delta + discount * trace_decay * carry", "delta + trace_decay * carry",
             (f"{ORACLES}::test_discount_and_trace_are_two_numbers",)),
    Mutation("P7", "γ forgotten in the next value", ADVANTAGES,
             "discount * next_value - values", "next_value - values",
             (f"{ORACLES}::test_discount_and_trace_are_two_numbers",)),
    Mutation("P7", "tokens left out break the chain", ADVANTAGES,
             "next_value = torch.where(here, values[:, t], next_value)", "next_value = values[:, t] * here", (CHAIN,)),
    Mutation("P7", "the trace starts again behind a token left out", ADVANTAGES,
             "trace_decay * carry, carry)", "trace_decay * carry, torch.zeros_like(carry))", (CHAIN,)),
    Mutation("P8", "returns of whitened advantages", ROLLOUT,
             "returns = advantages + rollout.values", "returns = whiten(advantages, rollout.mask) + rollout.values",
             (CHAIN,)),
    Mutation("P8", "returns without the old values", ROLLOUT,
             "returns = advantages + rollout.values", "returns = advantages", (CHAIN,)),
    Mutation("P9", "whitening counts padding", ADVANTAGES,
             "count = mask.sum().clamp(min=1)", "count = torch.tensor(mask.numel())", (CHAIN,)),
    Mutation("P9", "the mean sees what is off the mask", ADVANTAGES,
             "mean = values.masked_fill(~mask, 0.0).sum() / count", "mean = values.sum() / count",
             (f"{ESTIMATES}::test_whitening_is_blind_to_padding",)),
    Mutation("P9", "the unbiased variance", ADVANTAGES,
             "variance = ((values - mean) ** 2).masked_fill(~mask, 0.0).sum() / count",
             "variance = ((values - mean) ** 2).masked_fill(~mask, 0.0).sum() / (count - 1).clamp(min=1)", (CHAIN,)),
    Mutation("P9", "divided by the variance", ADVANTAGES,
             "torch.rsqrt(variance + 1e-8)", "(1 / (variance + 1e-8))", (CHAIN,)),
    Mutation("P9", "the mean is not put back", ADVANTAGES,
             "(whitened if shift_mean else whitened + mean)", "(whitened)",
             (f"{ORACLES}::test_whitened_rewards_keep_their_mean",)),
    Mutation("P9", "advantages are not whitened", ROLLOUT,
             "whiten(advantages, rollout.mask) if whiten_advantages else advantages", "advantages", (CHAIN,)),
    Mutation("P16", "a reply that never ends keeps its score", ROLLOUT,
             "return torch.where(finished, clamped,", "return torch.where(finished | True, clamped,",
             ("tests/stages/test_ppo_options.py::test_the_truth_table_of_replies_that_do_not_end",)),
    Mutation("P16", "scores are not limited below", ROLLOUT,
             "scores.clamp(-limit, limit)", "scores.clamp(max=limit)",
             ("tests/stages/test_ppo_options.py::test_the_truth_table_of_replies_that_do_not_end",)),
    Mutation("P17", "the prompt counts as chosen by the policy", ROLLOUT,
             "[False] * len(prompt) + [True] * len(done.tokens)", "[True] * len(prompt) + [True] * len(done.tokens)",
             (f"{ORACLES}::test_a_rollout_marks_what_the_policy_chose_and_nothing_else",)),
    Mutation("P17", "the end token is not trained", ROLLOUT,
             "[False] * len(prompt) + [True] * len(done.tokens)",
             "[False] * len(prompt) + [True] * (len(done.tokens) - 1) + [False]",
             (f"{ORACLES}::test_a_rollout_marks_what_the_policy_chose_and_nothing_else",)),
    Mutation("S1", "the first token of an example is predicted from its neighbour", BATCHES,
             "mask[:1] = False", "pass",
             (f"{ORACLES}::test_an_example_begins_with_a_token_that_nobody_predicts",)),
    Mutation("S3", "positions do not start again", BATCHES,
             "positions[r, span], segments[r, span] = np.arange(len(ids)), number",
             "positions[r, span], segments[r, span] = start + np.arange(len(ids)), number",
             (f"{LAYOUT}::test_scores_do_not_depend_on_batch_mates_or_packing",
              f"{SAME}::test_packing_changes_nothing")),
    Mutation("S3", "packed examples see each other", BATCHES,
             "positions[r, span], segments[r, span] = np.arange(len(ids)), number",
             "positions[r, span], segments[r, span] = np.arange(len(ids)), 1",
             (f"{LAYOUT}::test_packed_likelihoods_equal_those_of_the_examples_alone",)),
    Mutation("S3", "padding is seen", SIGHT,
             "same = same & (keys != 0)", "same = same | (keys == 0)",
             ("tests/model/test_decoder.py::test_padding_is_seen_by_nobody",
              f"{SAME}::test_the_side_of_padding_changes_nothing")),
    Mutation("S3", "tokens see those behind them", SIGHT,
             "device=segments.device).tril()", "device=segments.device)",
             ("tests/model/test_decoder.py::test_logits_are_those_of_transformers",)),
    Mutation("S3", "text by text, a token sees the next", ATTENTION,
             "device=device).triu(1)", "device=device).triu(2)",
             ("tests/model/test_sight.py::test_text_by_text_equals_the_dense_bias",)),
    Mutation("R1", "text by text, a history learns nothing of its replies", ATTENTION,
             "rows[text.parent] += found[: text.before]", "pass",
             ("tests/model/test_sight.py::test_text_by_text_equals_the_dense_bias",)),
    Mutation("S3", "text by text, queries are not rotated back", ATTENTION,
             "_turn(for_query, cos * root, -sin * root", "_turn(for_query, cos * root, sin * root",
             ("tests/model/test_sight.py::test_text_by_text_equals_the_dense_bias",)),
    Mutation("P12", "an aligned figure in the wrong row", BATCHES,
             "figures[self.place]", "figures", (f"{LAYOUT}::test_everything_is_aligned_to_the_token_it_speaks_of",)),
    Mutation("P1", "the log-probability of the token before", FORWARD,
             "return decoder.token_logprobs(hidden[:, :-1][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])",
             "return decoder.token_logprobs(hidden[:, 1:][batch.mask[:, 1:]], batch.tokens[:, 1:][batch.mask[:, 1:]])",
             (f"{LAYOUT}::test_a_supervised_token_is_predicted_by_the_state_before_it",)),
    Mutation("P1", "the temperature forgotten in the update", FORWARD,
             "batch.tokens[:, 1:][chosen], temperature)", "batch.tokens[:, 1:][chosen])",
             (f"{LAYOUT}::test_everything_is_aligned_to_the_token_it_speaks_of",)),
    Mutation("P1", "the temperature forgotten on the way back", "parley/model/kernels.py",
             "scale = ctx.dtype, upstream[:, None] / ctx.temperature", "scale = ctx.dtype, upstream[:, None]",
             ("tests/model/test_decoder.py::test_kernels_and_their_gradients_equal_the_plain_formulas",
              "tests/model/test_decoder.py::test_token_logprobs_equal_log_softmax")),
    Mutation("R1", "a reply sees its neighbours", GROUPS,
             "self.segments[self.row, span], self.parents[self.row, span] = self.number, parent",
             "self.segments[self.row, span], self.parents[self.row, span] = parent or self.number, parent",
             (f"{TREES}::test_scores_equal_those_of_the_exchanges_alone",)),
    Mutation("R1", "a reply does not see its history", GROUPS,
             "self.segments[self.row, span], self.parents[self.row, span] = self.number, parent",
             "self.segments[self.row, span], self.parents[self.row, span] = self.number, 0",
             (f"{TREES}::test_scores_equal_those_of_the_exchanges_alone",)),
    Mutation("R1", "a reply's positions start at 0", GROUPS,
             "self._put(ids, first=len(history), parent=parent", "self._put(ids, first=0, parent=parent",
             (f"{TREES}::test_scores_equal_those_of_the_exchanges_alone",)),
    Mutation("R7", "the score is read one token early", BATCHES,
             "return ((self.segments > 0) & (self.segments != following)).flatten().nonzero().squeeze(1)",
             "return ((self.segments > 0) & (self.segments != following)).flatten().nonzero().squeeze(1) - 1",
             (f"{LAYOUT}::test_the_last_token_of_every_example_is_found",)),
    Mutation("P6", "β moves against the KL", "parley/rlhf/control.py",
             "kl_nats / target_nats - 1", "1 - kl_nats / target_nats",
             ("tests/stages/test_ppo_options.py::test_the_price_follows_the_golden_sequence",)),
    Mutation("P21", "the moving average the wrong way round", "parley/rlhf/copies.py",
             "1 - decay", "decay", ("tests/rlhf/test_preference.py::test_a_moving_average_has_its_closed_form",)),
    Mutation("P20", "the value head starts at random", "parley/model/heads.py",
             "nn.init.zeros_(self.head.weight)", "nn.init.normal_(self.head.weight)",
             ("tests/stages/test_reward.py::test_heads_start_as_they_should",)),
    Mutation("R4", "the head starts with the variance for its deviation", "parley/model/heads.py",
             "std=(width + 1) ** -0.5", "std=(width + 1) ** -1",
             ("tests/stages/test_reward.py::test_heads_start_as_they_should",)),
    Mutation("P19", "warm-up forgotten", LOOP,
             "if step < warmup:", "if step < 0:", ("tests/rlhf/test_loop.py::test_schedules",)),
    Mutation("P22", "gradients of the first loss are lost", LOOP,
             "loss.backward()  # type", "optimizer.zero_grad(); loss.backward()  # type",
             ("tests/stages/test_ppo_options.py"
              "::test_the_gradient_is_that_of_ppo_plus_gamma_times_that_of_pretraining",)),
    Mutation("S1", "a turn whose end is not trained is let through", "parley/stages/sft.py",
             "if not (tokens[closes] == end).all():", "if False:",
             ("tests/stages/test_sft.py::test_a_turn_whose_stop_token_is_not_trained_is_refused",)),
)  # fmt: skip

QUICK = ("mean over all positions instead of the masked ones", "the last token is not reached")


def verdicts(mutations: Sequence[Mutation], place: Path) -> Iterator[dict[str, Any]]:
    """For each mutation what became of it: `killed`, or `survived`. The copies lie in `place`."""
    copy = place / "copy"
    for name in ("parley", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "app"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for mutation in mutations:
        began = time.monotonic()
        with _planted(mutation, copy):
            noticed = _fails(mutation.tests, copy)
        yield {
            "rule": mutation.rule,
            "what": mutation.what,
            "file": mutation.file,
            "tests": list(mutation.tests),
            "verdict": "killed" if noticed else "survived",
            "seconds": round(time.monotonic() - began, 1),
        }


def passes(tests: Sequence[str]) -> bool:
    """Whether the named tests pass as things are: a test that fails anyway would notice everything."""
    return not _fails(tests, ROOT)


@contextmanager
def _planted(mutation: Mutation, copy: Path) -> Iterator[None]:
    path = copy / mutation.file
    right = path.read_text(encoding="utf-8")
    path.write_text(mutation.planted(right), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(right, encoding="utf-8")


def _fails(tests: Sequence[str], copy: Path) -> bool:
    """Whether one of them fails on the package that lies in `copy`."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
        cwd=copy,
        env=dict(os.environ) | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode} on {' '.join(tests)}: {done.stdout[-500:]}")
    return done.returncode == 1
