"""Replies that belong to the server: written, checked, stored and shown, whoever comes and goes."""
