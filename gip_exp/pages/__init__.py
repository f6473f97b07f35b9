"""HTML pages: their templates, and the style sheet and the script that they share.

Every page shows text of rows and replies, so all values are escaped, by one setting. A page is one file without network:
its template includes `base.css` (colours, dark mode, tables) and, if its tables can be sorted, `sort.js`.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

SHARED = Path(__file__).parent
STYLE, SORTING = (SHARED / name for name in ("base.css", "sort.js"))


def environment(folder: Path) -> Environment:
    """Return the environment of the templates in a folder: values are escaped, and a missing one is an error.

    Templates can include the files of their folder and the shared ones.
    """
    return Environment(
        loader=FileSystemLoader([folder, SHARED]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
