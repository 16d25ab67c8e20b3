"""The migrations. One is never changed after a release, only followed by another."""
