"""The stage graph of a run, and the key of a run: everything that can change its result."""

from collections.abc import Mapping

from gip_exp import result
from gip_exp.config import Config
from gip_exp.config.embedder import Embedder, TransformerEmbedder
from gip_exp.config.train import NoTrain
from gip_exp.models import converted, loading
from gip_exp.stage import Stage
from gip_exp.stages import (
    base,
    contamination,
    convert,
    data,
    describe,
    embed,
    evaluate,
    gradients,
    rank,
    rounds,
    score,
    warmup,
)

# Their settings depend on the outputs of earlier stages, and follow from the other settings.
_DEPENDENT = ("rank", "select", "train")


def stages(config: Config) -> dict[str, Stage]:
    """Return the stages of a run by name, in execution order."""
    chosen = rounds.stages(config)
    known = {
        stage.name: stage
        for stage in (
            *data.stages(config),
            *contamination.stages(config),
            base.STAGE,
            *convert.stages(config),  # also of the model, in place of the one above
            *score.from_rows(config),
            embed.STAGE,
            *score.from_tables(config),
            warmup.STAGE,
            gradients.STAGE,
            *chosen[:-1],
            describe.STAGE,
            chosen[-1],
            *evaluate.stages(config),
        )
    }
    final = [stage for stage in known.values() if stage.group == (config.until or "evaluate")]
    if config.until == "score":  # with the base model, not after training
        final = [
            stage for stage in final if "train" not in {n.partition("/")[0] for n in stage.inputs(config)}
        ]
    final += data.stages(config)[1:]  # the metadata, for the report
    if config.until != "data":
        final += contamination.stages(config)
    if not config.until:
        # Even with train=none a run records its selection; even without evaluations it trains an adapter.
        final.append(known["select"])
        if not isinstance(config.train, NoTrain):
            final.append(known["train"])
    required: set[str] = set()
    for stage in final:
        _require(stage, known, config, required)
    if "select" in required:
        required.add(describe.STAGE.name)  # its inputs are those of the ranking, and the selection
    return {name: stage for name, stage in known.items() if name in required}


def _require(stage: Stage, known: Mapping[str, Stage], config: Config, required: set[str]) -> None:
    """Add a stage and, recursively, its inputs to `required`."""
    if stage.name in required:
        return
    required.add(stage.name)
    for name in stage.inputs(config):
        _require(known[name], known, config, required)


def run_key(config: Config) -> str:
    """Return the key of the full run, ignoring `until`, so that a continued run uses the same folder."""
    full = stages(config.model_copy(update={"until": None}))
    # A page about the result changes nothing in it; a judge's file is in the settings of the stage that asks the judge.
    for name in (describe.STAGE.name, converted.JUDGE, converted.MT_BENCH):
        full.pop(name, None)
    identities = {
        "model": loading.identity(config.model),
        "selector": rank.source(config),
        # Files that the config names (rows, weights, questions) count by content, as in the keys of the stages.
        "settings": {
            name: stage.settings(config, {}) for name, stage in full.items() if stage.group not in _DEPENDENT
        },
        "code": {stage.name: stage.code_files(config) for stage in full.values()},
    }
    return result.config_key(_without_local_places(config), identities)


def _without_local_places(config: Config) -> Config:
    """Return the config without the folders of local models: their files count, so that a moved folder is the same."""
    model = config.model.model_copy(update={"path": loading.name_in_key(config.model.path)})
    selector = config.selector
    if (own := getattr(selector, "embedder", None)) is not None:
        selector = selector.model_copy(update={"embedder": _without_place(own)})
    if scorer := getattr(selector, "model", None):
        selector = selector.model_copy(update={"model": loading.name_in_key(scorer)})
    return config.model_copy(
        update={"model": model, "embedder": _without_place(config.embedder), "selector": selector}
    )


def _without_place(encoder: Embedder) -> Embedder:
    if not isinstance(encoder, TransformerEmbedder):
        return encoder
    return encoder.model_copy(update={"model": loading.name_in_key(encoder.model)})
