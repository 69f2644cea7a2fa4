"""One HTML file that needs nothing else, out of a template of this package: its style inside it, everything else escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from senet.recipe.tree import ROOT_DECIDES
from senet.report.svg import Drawing
from senet.text import printable_lines


def document(template: str, **values: Any) -> str:
    """Return a template filled with values, without scripts, fonts or links to anything outside.

    Args:
        template: name of a file beside this one; "style" stands for the style sheet in it.
        values: what it shows: text without control characters, and markup of this package as it is.
    """
    environment = Environment(
        loader=PackageLoader("senet.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup(environment.get_template("style.css").render())
    return environment.get_template(template).render(style=style, **values)


def markup(drawing: Drawing) -> Markup:
    """Return a drawing as a template takes it."""
    return Markup(str(drawing))


def data_words(name: str, root: str | None) -> str:
    """Return what a reader knows images by: the data set, or the folder of a source that only says how folders are laid out."""
    return Path(root).name.strip(".") or name if root and name in ROOT_DECIDES else name


def _shown(value: Any) -> Any:
    """Return what a template prints for a value."""
    return value if isinstance(value, Markup) else printable_lines(value)
