"""Flatness of finished runs: measures, comparisons and loss surfaces as numbers."""
