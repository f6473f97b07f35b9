"""Sort runs into groups (one table each), arms (a way to select) and cells (an arm at one budget).

A group shares the experiment, the model and the training settings; if several are mixed under one name, the
settings that differ become part of the group's title. An arm is a selector; if runs of one selector differ in
judge, rubric, embedder or selector settings, these become part of its label. Evaluation settings that differ
become part of the metric's name. So only runs with the same settings are averaged.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gip_exp.report.names import FULL, UNTUNED, metric_order, model_order
from gip_exp.report.neutral import is_neutral
from gip_exp.report.run import Run
from gip_exp.report.study import Arm, Cell, Group, Settings, shown

SETUP = ("model", "train", "target", "engine")
# Sections that distinguish arms of one selector, and the stage a run must have used for them to matter.
CHOICE = {
    "selector": "select",
    "judge": "score",
    "rubric": "score",
    "sampler": "score/self_consistency",
    "embedder": "embed",
}


def make_study(runs: Sequence[Run]) -> list[Group]:
    """Return groups in the order of headline metric, model and experiment, each with its cells."""
    together: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        together.setdefault((run.experiment, run.model), []).append(run)
    groups = []
    order = sorted(together, key=lambda pair: (model_order(pair[1]), pair[0]))
    for experiment, model_name in order:
        members = together[experiment, model_name]
        for setup, part in _setups(members):
            cells, notes = _cells(part)
            groups.append(Group(experiment, model_name, setup, cells, notes))
    return sorted(groups, key=_first_metric)


def _first_metric(group: Group) -> tuple[int, int, str]:
    """Sort key: groups with the same metric are neighbours; those without metrics come last."""
    return metric_order(group.metrics[0] if group.metrics else "")


def name_metrics(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with evaluation settings in the names of their metrics, if an experiment mixes such settings.

    `limit` is left out: it changes the questions, which `checks` refuses.
    """
    named = []
    for run in runs:
        peers = [peer for peer in runs if peer.experiment == run.experiment]
        answers = {}
        for metric, outcomes in run.answers.items():
            keys = _varying([peer for peer in peers if metric in peer.answers], _setting_of(metric))
            differing = tuple((key.removeprefix("evaluation."), run.settings.get(key)) for key in keys)
            answers[metric + shown(differing)] = outcomes
        named.append(replace(run, answers=answers))
    return named


def _setting_of(metric: str) -> Callable[[str], bool]:
    """Whether a key is a setting of the evaluation behind `metric`."""
    prefix = f"evaluation.{metric.partition('/')[0]}."
    return lambda key: key.startswith(prefix) and not is_neutral(key) and not key.endswith(".limit")


def _varying(runs: Sequence[Run], wanted: Callable[[str], bool]) -> list[str]:
    """Return setting keys with more than one value among the runs that have settings, sorted."""
    known = [run.settings for run in runs if run.settings]
    keys = sorted({key for settings in known for key in settings if wanted(key)})
    return [key for key in keys if len({repr(settings.get(key)) for settings in known}) > 1]


def _counts(key: str, sections: Iterable[str]) -> bool:
    """Return whether a setting of these sections can change results: not a seed, a name or a neutral key."""
    section = key.partition(".")[0]
    return section in sections and not is_neutral(key) and not key.endswith((".seed", ".name"))


def _values(run: Run, keys: Sequence[str]) -> Settings:
    return tuple((key, run.settings.get(key)) for key in keys)


def _parts(runs: Sequence[Run], keys: Sequence[str]) -> dict[str, list[Run]]:
    parts: dict[str, list[Run]] = {}
    for run in runs:
        parts.setdefault(repr(_values(run, keys)), []).append(run)
    return dict(sorted(parts.items()))


def _setups(runs: Sequence[Run]) -> list[tuple[Settings, list[Run]]]:
    """Split runs by the training settings that differ; untuned runs join every part that differs in training only."""
    tuned = [run for run in runs if run.tuned]
    keys = _varying(tuned or runs, lambda key: _counts(key, SETUP))
    parts = [(_values(part[0], keys), part) for part in _parts(tuned or runs, keys).values()]
    if not tuned:
        return parts
    shared = [key for key in keys if not key.startswith("train.")]
    for run in (run for run in runs if not run.tuned):
        own = _values(run, shared)
        homes = [part for setup, part in parts if tuple(pair for pair in setup if pair[0] in shared) == own]
        if not homes:
            homes = [[]]
            parts.append((own, homes[0]))
        for part in homes:
            part.append(run)
    return parts


def _cells(runs: Sequence[Run]) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    notes: list[str] = []
    runs = _once(runs, notes)
    by_cell: dict[tuple[Arm, tuple[str, int | float]], list[Run]] = {}
    for run in runs:
        arm = _arm(run, runs)
        if run.n_selected is not None or arm.method == UNTUNED:
            by_cell.setdefault((arm, ("rows", 0) if arm.method == UNTUNED else run.size), []).append(run)
    cells = []
    for (arm, (unit, size)), members in by_cell.items():
        seeds: dict[int, tuple[Run, ...]] = {}
        for run in sorted(members, key=lambda run: (-run.modified, str(run.folder))):
            seeds[run.seed] = (*seeds.get(run.seed, ()), run)
        for several in seeds.values():
            notes += _superseded(several)
        first = members[0]
        n_selected = int(size) if unit == "rows" else int(first.n_selected or 0)
        cells.append(Cell(arm, n_selected, int(first.n_pool or 0), first.budget, seeds, unit))
    return tuple(sorted(cells, key=lambda cell: (cell.arm.order, cell.n_selected))), tuple(notes)


def _method(run: Run) -> str:
    return run.selector if run.tuned else UNTUNED


def _once(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """Leave out runs that share their stage outputs with another run, so that a measurement counts once.

    The untuned base counts once for all seeds. If two arms select the same rows, each keeps its run.
    """
    seen: dict[tuple[Any, ...], Run] = {}
    for run in sorted(runs, key=lambda run: (run.seed, -run.modified, str(run.folder))):
        last = run.stages.get("evaluate") or run.stages.get("select")
        arm = _arm(run, runs)
        chosen = () if not run.tuned else (run.seed, run.n_selected)
        key = (arm, chosen, last["key"] if last else str(run.folder), tuple(sorted(run.answers)))
        if key in seen:
            notes.append(f"{run.folder.name} shares its outputs with {seen[key].folder.name}: counted once")
        else:
            seen[key] = run
    return list(seen.values())


def _arm(run: Run, runs: Sequence[Run]) -> Arm:
    method = _method(run)
    if method in (UNTUNED, FULL):
        return Arm(method)
    sections = [section for section, stage in CHOICE.items() if stage in run.stages]
    peers = [peer for peer in runs if _method(peer) == method]
    keys = _varying(peers, lambda key: key in _names(sections) or _counts(key, sections))
    for section in sections:
        name = f"{section}.name"
        rest = [key for key in keys if key.startswith(f"{section}.") and key != name]
        # The name is enough unless one name stands for several settings.
        if name in keys and len(_parts(peers, [name])) == len(_parts(peers, [name, *rest])):
            keys = [key for key in keys if key not in rest]
    return Arm(method, _values(run, keys))


def _names(sections: Iterable[str]) -> set[str]:
    return {f"{section}.name" for section in sections}


def _superseded(runs: Sequence[Run]) -> list[str]:
    """Return notes on runs of one cell and seed whose metrics a newer run has too."""
    return [
        f"{older.folder.name} is older than {newer.folder.name} (same cell and seed): left out"
        for i, older in enumerate(runs)
        for newer in runs[:i]
        if older.answers and set(older.answers) <= set(newer.answers)
    ]
