"""Probes: training that measures something on every batch and says it in its notes.

    msam train --method msam_bench.studies.instruments.normalizations:Normalizations

A probe is a method like any other, so that the one training loop runs it, resumes it and keeps its notes.
"""
