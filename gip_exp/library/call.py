"""`select_rows`: the selection from Python, by the same pipeline as the command line."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.library import given
from gip_exp.library.subset import Subset
from gip_exp.runs.folder import SELECTED_ROWS
from gip_exp.storage.files import read_jsonl

if TYPE_CHECKING:
    from gip_exp.pipeline import Outcome


def select_rows(
    rows: Any,
    budget: int | float,
    *,
    scores: given.Scores | None = None,
    judge: str | None = None,
    embeddings: np.ndarray | str | None = None,
    selector: str | None = None,
    seed: int = 0,
    settings: Sequence[str] = (),
    root: Path | str | None = None,
    verbose: bool = False,
) -> Subset:
    """Select rows for fine-tuning.

    Args:
        rows: Dicts, a `datasets.Dataset`, a `pandas.DataFrame`, or the path of a file or folder. Questions with answers,
            conversations, preference pairs: the shape is detected as by `+experiment=own_data`.
        budget: Number of rows, or a share of the pool.
        scores: Larger is better: name of a column, several names, a function of a row, or a dict of name -> either.
        judge: A judge of `conf/judge` instead (`openai`, `vllm`); without scores it is `rules`, about the surface of texts.
        embeddings: (n, d) array with a vector per given row, or an embedder of `conf/embedder`; `tfidf` by default.
        selector: A selector of `conf/selector`; by default matching pursuit on the scores. `mp_sc` needs none.
        seed: Seed of selection noise and of random selectors.
        settings: Further settings as on the command line, e.g. `["selector.ridge=0.1"]`.
        root: Folder of stage outputs, which later calls reuse; by default a temporary one.
        verbose: Show progress and notes on stderr.

    Returns:
        The subset, best first.

    Raises:
        UserError: names the row, column or setting, the value, and what is allowed.

    Example:
        >>> facts = [{"prompt": f"Fact {i}?", "completion": f"Water is wet {i}.", "reward": i} for i in range(40)]
        >>> subset = select_rows(facts, 3, scores="reward")
        >>> len(subset), subset[0] == facts[subset.indices[0]]
        (3, True)
    """
    from gip_exp.config import parse

    if scores is not None and judge is not None:
        raise UserError(
            "scores and judge are both given: give one; selector=mp_mixture in settings combines signals"
        )
    kept = TemporaryDirectory(prefix="gip-")
    in_memory = given.plain_rows(rows)
    columns = given.named_scores(scores) if scores is not None else {}
    chosen = selector or ("mp_metadata" if columns else None)
    embedder = embeddings if isinstance(embeddings, str) else None if embeddings is None else "file"
    groups = {"selector": chosen, "judge": judge, "embedder": embedder}
    choices = [f"{group}={name}" for group, name in groups.items() if name]
    values = _composed(["+experiment=own_data", f"budget={budget}", f"seed={seed}", *choices, *settings])
    values["data"]["path"] = str(_data(rows, in_memory, columns, Path(kept.name)))
    values["data"]["metadata"] = list(dict.fromkeys([*values["data"]["metadata"], *columns]))
    values["paths"]["root"] = str(root if root is not None else Path(kept.name) / "outputs")
    if isinstance(embeddings, np.ndarray):
        values["embedder"]["path"] = str(Path(kept.name) / "embeddings.npy")
        np.save(values["embedder"]["path"], embeddings)
    return _subset(_run(parse(values), verbose), rows, in_memory, kept)


def _composed(overrides: Sequence[str]) -> dict[str, Any]:
    """Compose the config as the command line does. Raises UserError for unknown names and keys."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from gip_exp.cli.hydra_errors import explained
    from gip_exp.sweep import expand

    try:
        return next(expand.compose([overrides]))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explained(error, overrides)) from None


def _data(
    rows: Any, in_memory: Sequence[given.Row] | None, scores: dict[str, given.Score], folder: Path
) -> Path:
    """Return the path of the rows, written if they are in memory."""
    if in_memory is not None:
        given.write(in_memory, scores, folder / "rows.jsonl")
        return folder / "rows.jsonl"
    if computed := [name for name, score in scores.items() if score != name]:
        raise UserError(
            f"scores computes {computed[0]!r}, for which the rows must be in memory: give rows, or a column"
        )
    return Path(rows).expanduser()


def _run(config: Any, verbose: bool) -> "Outcome":
    from gip_exp import pipeline
    from gip_exp.console import Console
    from gip_exp.quiet import quiet_libraries

    quiet_libraries()
    return pipeline.run(config, Console() if verbose else Console(StringIO()))


def _subset(
    outcome: "Outcome", rows: Any, in_memory: Sequence[given.Row] | None, kept: TemporaryDirectory[str]
) -> Subset:
    from gip_exp.artifacts import data_facts, read_origins, read_selected

    picked = read_selected(outcome.entries)
    origins = read_origins(outcome.entries)
    if origins is not None and len(origins.table["source"].unique()) > 1:
        raise UserError(
            f"{rows} has several files, so rows have no number: give one file, or the rows themselves"
        )
    indices = np.array([row["row"] - 1 for row in picked], dtype=np.int64)
    given_rows = None if in_memory is None else [dict(in_memory[int(at)]) for at in indices]
    return Subset(
        indices=indices,
        rows=read_jsonl(outcome.folder / SELECTED_ROWS) if given_rows is None else given_rows,
        n=data_facts(outcome.entries)["n_read"],
        measures=outcome.result["measures"],
        notes=tuple(dict.fromkeys(note for entry in outcome.entries.values() for note in entry.notes)),
        folder=outcome.folder,
        source=rows,
        kept=kept,
    )
