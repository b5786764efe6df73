"""The error of a training whose loss is no longer finite."""

from __future__ import annotations


class Diverged(ValueError):
    """A loss that is no longer finite: the settings are too bold for the data, which is a result as well."""
