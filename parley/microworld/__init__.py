"""A tiny invented world whose truth is known exactly, and the people who talk about it.

It stands in for users, trainers and the web at the head of the walk: documents for the base
model, demonstrations, users' prompts, trainers' rankings, and gold scores that no model sees.
Read `world`, `situations`, `gold`, then `users` and `dialogues`; `probes` is for evaluations.
"""
