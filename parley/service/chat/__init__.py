"""The page at `/`, signing in and out, and what the page asks for under `/api`."""
