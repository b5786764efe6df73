"""Tuning with the same number of trials for every method: what is tried, the search, and the file that it ends in."""
