"""Health, readiness, and how far the run is."""
