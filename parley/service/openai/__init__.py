"""The OpenAI-compatible API under `/v1`, for programs with a bearer key."""
