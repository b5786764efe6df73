"""What a report keeps on disk: files that are whole or absent, and scripts that take seconds to bundle.

    write(folder / "table.md", table.markdown())
    vega()  # from the user's cache, the second time

Importing this module is cheap: vl_convert is imported when there is something to bundle.
"""

import contextlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path


def vega() -> str:
    """Gives the scripts that draw the figures, kept in the user's cache because bundling them takes seconds."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "msam" / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return kept.read_text(encoding="utf-8")
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write(kept, script)
    return script


def write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, encoding="utf-8", newline="\n", delete=False) as unfinished:
        try:
            unfinished.write(text)
            unfinished.close()
            Path(unfinished.name).chmod(0o644)
            Path(unfinished.name).replace(path)
        except BaseException:
            Path(unfinished.name).unlink(missing_ok=True)
            raise
