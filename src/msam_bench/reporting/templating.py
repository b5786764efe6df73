"""The templates of the pages, with one set of rules: everything is escaped, nothing may be missing, no NaN in JSON.

An example.

    environment().get_template("report.html.j2").render(...)
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def environment() -> Environment:
    """Loads the templates and their filters; jinja2 is imported here, when a page is rendered."""
    import jinja2

    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["breakable"] = breakable
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return templates


def breakable(text: object) -> Markup:
    """Lets a long name go on in the next line behind its punctuation, but no number behind its point."""
    import markupsafe

    return markupsafe.Markup(re.sub(r"([:=+_/]|\.(?!\d))(?=\w)", r"\1<wbr>", str(markupsafe.escape(text))))
