"""Runs: the folder and record of each, and where many are trained."""
