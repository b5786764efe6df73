"""The command itself, on which files of verbs hang theirs, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

app = App(
    name="msam",
    version=version("msam"),
    help="Is one modality dominating your model, which method helps, and can you believe the number?",
)
data_app = App(name="data", help="The data sets that the other verbs know.")
study_app = App(name="study", help="Named experiments: which runs, which measurements, and an answer in words.")
for group in (data_app, study_app):
    app.command(group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command; a mistake of the user's is one sentence and exit code 2."""
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(str(error))
    except (ValueError, OSError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("Stopped. The same command continues where it was.", code=130)


def _fail(message: str, code: int = 2) -> None:
    print(f"msam: {message}", file=sys.stderr)
    raise SystemExit(code)
