"""Evaluations: one claim or admitted limitation a file, and the statistics they share."""
