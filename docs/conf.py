"""The documentation site: Sphinx, furo and MyST."""

import re

import msam

project = "msam"
author = "The msam developers"
copyright = "2026, The msam developers"
version = release = msam.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"msam {version}"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3

default_role = "code"  # docstrings mark code by single backticks
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_default_options = {"exclude-members": "forward, get_extra_state, set_extra_state"}
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True

_SECTION = re.compile(r"(Args|Attributes|Example|Examples|Note|Raises|Returns|Yields):$")


def restructured(_app, what, _name, _object, _options, lines):
    """Docstrings here are plain text: indented equations and code become literal blocks, bars lose their meaning."""
    out, paragraph, literal = [], "", False
    if what == "property":
        out += ["..", ""]  # an empty comment: else the words before a colon are read as the type
    for line in lines:
        indented = line.startswith("    ")
        if indented and not literal and out and not out[-1] and paragraph and not _SECTION.match(paragraph):
            out += ["::", ""]
            literal = True
        elif line and not indented:
            paragraph, literal = line, False
        out.append(line if literal else _without_bars(line))
    lines[:] = out


def _without_bars(line):
    """Outside code `|x|` is a norm, not a substitution."""
    parts = line.split("`")
    return "`".join(part if index % 2 else part.replace("|", r"\|") for index, part in enumerate(parts))


def setup(app):
    app.connect("autodoc-process-docstring", restructured, priority=400)  # before napoleon
