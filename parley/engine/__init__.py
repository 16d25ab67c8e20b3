"""Sampling from a model: batched rollouts and the streamed replies of the service."""
