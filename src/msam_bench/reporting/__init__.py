"""The parts of a report: runs that may be compared, the table and its words, the page and its figures.

`msam_bench.reporting.report` is the way in.
"""
