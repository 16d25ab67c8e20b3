"""The web application's sources, and what turns them into files of the package."""
