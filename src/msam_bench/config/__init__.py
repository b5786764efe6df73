"""Configuration of a run: plain data, what resolves it, shipped settings and the search space."""
