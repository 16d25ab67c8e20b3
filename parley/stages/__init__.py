"""The stages: from what people told us to a release. `pipeline.py` holds the walk on one screen."""
