"""Instruments: methods that measure something on every batch and report it in their notes, and timers of steps.

    msam train --method msam_bench.studies.instruments.normalizations:Normalizations

Such a method is one like any other, so that the one training loop runs it, resumes it and keeps its notes.
"""
