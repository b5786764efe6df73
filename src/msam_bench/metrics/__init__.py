"""Metrics as what every test sample adds to them, and how uncertain their means are."""
