"""Reports of finished runs and of studies: tables, figures, pages and the files beside them.

`msam_bench.reporting.report` is the way in.
"""
