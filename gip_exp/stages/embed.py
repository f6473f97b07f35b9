"""`embed`: one vector per training row (prompt, newline, completion), as a float32 array."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.artifacts import FEATURES, Texts, read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.embedder import OpenAIEmbedder, TransformerEmbedder
from gip_exp.config.model import Model
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.registry.functions import EMBEDDERS
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.code_digest import Root

if TYPE_CHECKING:
    from gip_exp.models.encoder import Encoder

SHARED = 0.01  # minimum share of distinct texts without a distinct vector that is worth a note


def _inputs(config: Config) -> tuple[str, ...]:
    own_scratch_model = isinstance(config.embedder, TransformerEmbedder) and config.embedder.model is None
    return ("data", "base") if own_scratch_model and config.model.scratch else ("data",)


def _encoder_model(config: Config, embedder: TransformerEmbedder) -> Model:
    """Return the encoder as a model config; without `embedder.model`, that of the experiment."""
    if embedder.model is None:
        return config.model
    return config.model.model_copy(
        update={"path": embedder.model, "revision": embedder.revision, "scratch": None}
    )


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    embedder = config.embedder
    if isinstance(embedder, TransformerEmbedder):
        return {**content(embedder), "model": loading.identity(_encoder_model(config, embedder))}
    return content(embedder)


def _build(job: Job) -> None:
    texts = Texts(read_pool(job.inputs))
    embedder = job.config.embedder
    if isinstance(embedder, TransformerEmbedder):
        features = _transformer(texts, embedder, job)
    elif isinstance(embedder, OpenAIEmbedder):
        features = _openai(texts, embedder, job)
    else:
        with job.console.bar(f"embedding with {embedder.name}", len(texts)) as bar:
            filled = {"texts": texts, "note": job.note, "facts": job.draft.facts, "advance": bar.advance}
            features = EMBEDDERS.call(embedder, filled)
    _check(features, job.config.embedder.name)
    shared, distinct = _shared(features, texts)
    if shared > SHARED * distinct:
        job.note(
            f"embedder={job.config.embedder.name} gives {shared:,} of {distinct:,} distinct texts the vector of another "
            "one, so selectors by embeddings treat them as duplicates"
        )
    np.save(job.folder / FEATURES, np.ascontiguousarray(features, dtype=np.float32))
    job.draft.facts.update(n=features.shape[0], dimensions=features.shape[1])


def _transformer(texts: Sequence[str], embedder: TransformerEmbedder, job: Job) -> np.ndarray:
    from gip_exp.models.encoder import transformer_encoder

    encoder = _encoder_model(job.config, embedder)
    place = (
        loading.fetched(encoder.path, encoder.revision) if encoder.path else str(job.inputs["base"].folder)
    )
    make = partial(
        transformer_encoder,
        place,
        pooling=embedder.pooling,
        max_length=embedder.max_length,
        dtype=embedder.dtype,
        instruction=embedder.instruction,
        batch_size=embedder.batch_size,
        device=loading.device(job.config),
    )
    return _in_shards(texts, make, job)


def _openai(texts: Sequence[str], embedder: OpenAIEmbedder, job: Job) -> np.ndarray:
    from gip_exp.models.encoder import remote_encoder

    make = partial(
        remote_encoder,
        embedder.model,
        base_url=embedder.base_url,
        dimensions=embedder.dimensions,
        batch_size=embedder.batch_size,
    )
    return _in_shards(texts, make, job)


def _in_shards(texts: Sequence[str], make: Callable[[], "Encoder"], job: Job) -> np.ndarray:
    from gip_exp.models.encoder import encode_in_shards

    folder = job.draft.scratch("shards")
    with job.console.bar(f"embedding with {job.config.embedder.name}", len(texts)) as bar:
        return encode_in_shards(texts, make, folder, bar.advance)


def _check(features: np.ndarray, name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise UserError(
            f"embedder {name} gave NaN or infinite values for {bad.size} rows, first row {bad[0]}"
        )


def _shared(features: np.ndarray, texts: Sequence[str]) -> tuple[int, int]:
    """Return (how many more distinct texts than distinct vectors there are, number of distinct texts)."""
    distinct = len(set(map(hash, texts)))
    vectors = {hash((np.round(row, 5) + 0.0).tobytes()) for row in features}  # adding 0 turns -0.0 into 0.0
    return distinct - len(vectors), distinct


def _missing(config: Config) -> list[str]:
    embedder = config.embedder
    if isinstance(embedder, TransformerEmbedder):
        if embedder.model is None:
            return loading.missing_requirements(config)
        return loading.missing_weights(embedder.model, embedder.revision, "embedder.model")
    if isinstance(embedder, OpenAIEmbedder):
        from gip_exp.models.encoder import missing_key

        return missing_key(embedder.base_url)
    return []


def _code(config: Config) -> tuple[Root, ...]:
    kind = config.embedder.kind
    return (EMBEDDERS.function(kind),) if kind in EMBEDDERS.kinds() else ()


STAGE = Stage(
    "embed",
    _inputs,
    _settings,
    _build,
    _missing,
    resumable=True,
    needs_device=lambda config: config.embedder.kind == "transformer",
    code=_code,
)
