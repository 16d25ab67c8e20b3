"""What a run shows: pages rendered one way, from the JSON of sealed artifacts.

`run_report` is the page of a run and `card` that of a release. Nothing is measured here and no
model is opened; a page holds everything it needs, and works from a disk, a mail or a server.
"""
