"""The JavaScript that draws the figures, bundled once and cached.

    scripts()  # from the user's cache, the second time

Importing this module is cheap: vl_convert is imported when there is something to bundle.
"""

import contextlib
import os
from importlib.metadata import version
from pathlib import Path

from msam_bench.files import write_whole


def scripts() -> str:
    """Gives the scripts that draw the figures, kept in the user's cache because bundling them takes seconds."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "msam" / f"vega-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return kept.read_text(encoding="utf-8")
    import vl_convert

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, script)
    return script
