"""Local paths of a config made absolute, because a planned run may start in another folder; hub names stay."""

from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.data import RowsData
from gip_exp.config.embedder import TransformerEmbedder
from gip_exp.data.load import hub_of


def with_absolute_paths(config: Config) -> Config:
    """Return the config with absolute paths of the store, the rows, the models, a ranking and the evaluations' files."""
    update: dict[str, Any] = {
        "paths": _replaced(config.paths, root=config.paths.root.expanduser().absolute())
    }
    if isinstance(config.data, RowsData) and config.data.path and hub_of(config.data) is None:
        update["data"] = _replaced(config.data, path=_absolute(config.data.path))
    transformer = ["embedder"] if isinstance(config.embedder, TransformerEmbedder) else []
    for group, key in {"model": "path", "selector": "path", **dict.fromkeys(transformer, "model")}.items():
        place = getattr(getattr(config, group), key, None)
        if place and _is_local(place):
            update[group] = _replaced(getattr(config, group), **{key: _absolute(place)})
    scorer = getattr(config.selector, "model", None)
    if scorer and _is_local(scorer):
        update["selector"] = _replaced(config.selector, model=_absolute(scorer))
    own = getattr(config.selector, "embedder", None)
    if isinstance(own, TransformerEmbedder) and own.model and _is_local(own.model):
        update["selector"] = _replaced(config.selector, embedder=_replaced(own, model=_absolute(own.model)))
    files = {
        name: _replaced(section, data_dir=_absolute(place))
        for name, section in config.evaluation.chosen().items()
        if (place := getattr(section, "data_dir", None))
    }
    if files:
        update["evaluation"] = _replaced(config.evaluation, **files)
    return _replaced(config, **update)


def _replaced(section: Any, **update: Any) -> Any:
    return section.model_copy(update=update)


def _is_local(place: str) -> bool:
    """Return whether a name that may be one on the hub is a file or folder here."""
    return Path(place).expanduser().exists()


def _absolute(place: str) -> str:
    return str(Path(place).expanduser().absolute())
