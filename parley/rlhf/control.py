"""The price of KL, adapted while PPO runs so that a reply's KL stays near a target."""

from __future__ import annotations

from typing import Final

LARGEST_ERROR: Final = 0.2


def adapted_price(
    kl_coefficient: float, kl_nats: float, *, target_nats: float, replies: int, horizon: float
) -> float:
    """The next β (Ziegler et al. 2019, section 2.2; rule P6).

    `kl_nats` is the KL of a whole reply, the sum over its tokens, in the mean over the batch of `replies`.
    β moves by at most a fifth of `replies / horizon`, in proportion to how far the KL is off the target.
    """
    error = min(max(kl_nats / target_nats - 1, -LARGEST_ERROR), LARGEST_ERROR)
    return kl_coefficient * (1 + error * replies / horizon)
