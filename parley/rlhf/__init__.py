"""The method: losses, advantages, batches, rollouts and the training loop.

`losses.py` and `advantages.py` import torch and nothing of ours; what a stage does with them
stands in `stages`.
"""
