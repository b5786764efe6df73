"""The command itself, on which files of verbs hang theirs, and how it ends."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
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
    except OSError as error:
        _fail(_sentence(error))
    except ValueError as error:
        _fail(str(error))
    except BrokenExecutor:
        _fail("A process of this command was killed; give the command again, with fewer --workers if memory is short.")
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "allocate memory" in str(error)):
            raise
        _fail("There is not enough memory for this; give it fewer --workers, a smaller --batch-size or smaller layers.")
    except KeyboardInterrupt:
        _fail("Stopped. The same command continues where it was.", code=130)


def _sentence(error: OSError) -> str:
    """What the system refused, and what to do."""
    if error.filename is None:
        return str(error)
    advice = _ADVICE.get(error.errno or 0, "check the path, then give the same command again")
    return f"Cannot use {error.filename}: {(error.strerror or 'refused').lower()}; {advice}."


_WRITABLE = "name a folder that you may write to"
_ADVICE = {
    errno.ENOSPC: "make room, then give the same command again: it continues where it was",
    errno.EDQUOT: "make room, then give the same command again: it continues where it was",
    errno.EACCES: _WRITABLE,
    errno.EPERM: _WRITABLE,
    errno.EROFS: _WRITABLE,
}


def _fail(message: str, code: int = 2) -> None:
    print(f"msam: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)
