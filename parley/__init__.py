"""parley: the system that the ChatGPT announcement described, in the open, on your own machine."""

__version__ = "0.1.0"
