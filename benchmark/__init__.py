"""galaxybench: which galaxy foundation model to trust, and how far."""
