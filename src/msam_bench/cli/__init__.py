"""The command `msam`: verbs, each a few lines over the other modules. Heavy imports wait until a verb needs them.

    main(["compare", "--data", "smartwatch"])

A file of verbs hangs them on `app`; what they share is `settings` (which runs), `jobs` (where they run) and `screen`.
"""

from msam_bench.cli import data, diagnosis, flatness, importing, overhead, records, study, sweep, training  # noqa: F401  (their verbs)
from msam_bench.cli.app import app, main

__all__ = ["app", "main"]
