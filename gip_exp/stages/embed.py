"""`embed`: one vector per training row (prompt, newline, completion), as a float32 array.

Transformers and endpoints work in shards, from which a killed stage continues; several processes
(`embedder.processes`) divide the shards.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.artifacts import FEATURES, POOL, Texts, data_facts, read_origins, read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.embedder import (
    FileEmbedder,
    NetworkEmbedder,
    OpenAIEmbedder,
    TransformerEmbedder,
    VLLMEmbedder,
)
from gip_exp.config.model import Model
from gip_exp.errors import UserError
from gip_exp.models import loading, vector_file
from gip_exp.models.machine import missing_for_processes
from gip_exp.registry.functions import EMBEDDERS
from gip_exp.runs.slurm import node_count
from gip_exp.signals.judge_requirements import missing_vllm
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.code_digest import Root
from gip_exp.storage.files import file_digest
from gip_exp.storage.row_table import read_table
from gip_exp.training.torchrun import run_in_processes

if TYPE_CHECKING:
    from gip_exp.models.shards import Encoder, OnRows

WORK, ORDER = "work", "order.npy"  # files exchanged by the processes
BLOCK = 65536  # rows checked at a time
SHARED = 0.01  # minimum share of distinct texts without a distinct vector that is worth a note


def _inputs(config: Config) -> tuple[str, ...]:
    own_model = isinstance(config.embedder_used, NetworkEmbedder) and config.embedder_used.model is None
    return ("data", "base") if own_model and config.model.made else ("data",)


def _encoder_model(config: Config, embedder: NetworkEmbedder) -> Model:
    """Return the encoder as a model config; without `embedder.model`, that of the experiment."""
    if embedder.model is None:
        return config.model
    return config.model.model_copy(
        update={"path": embedder.model, "revision": embedder.revision, "scratch": None}
    )


def _place(job: Job, embedder: NetworkEmbedder) -> str:
    """Return the folder of the encoder."""
    if embedder.model is None:
        return loading.location(job.config, job.inputs)
    return loading.fetched(embedder.model, embedder.revision)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    embedder = config.embedder_used
    if isinstance(embedder, NetworkEmbedder):
        return {**content(embedder), "model": loading.identity(_encoder_model(config, embedder))}
    if isinstance(embedder, FileEmbedder) and embedder.path is not None:
        return {**content(embedder), "file": file_digest(embedder.path)}
    return content(embedder)


def _build(job: Job) -> None:
    texts = Texts(read_pool(job.inputs))
    embedder = job.config.embedder_used
    if isinstance(embedder, TransformerEmbedder):
        features = _transformer(texts, embedder, job)
    elif isinstance(embedder, VLLMEmbedder):
        features = _vllm(texts, embedder, job)
    elif isinstance(embedder, OpenAIEmbedder):
        features = _openai(texts, embedder, job)
    else:
        if isinstance(embedder, FileEmbedder):
            features = _from_file(embedder, job)
        else:
            with job.console.bar(f"embedding with {embedder.name}", len(texts)) as bar:
                filled = {"texts": texts, "note": job.note, "facts": job.draft.facts, "advance": bar.advance}
                features = EMBEDDERS.call(embedder, filled)
        np.save(job.folder / FEATURES, np.ascontiguousarray(features, dtype=np.float32))
    _check(features, job.config.embedder_used.name)
    shared, distinct = _shared(features, texts)
    if shared > SHARED * distinct:
        job.note(
            f"embedder={job.config.embedder_used.name} gives {shared:,} of {distinct:,} distinct texts the vector of another "
            "one, so selectors by embeddings treat them as duplicates"
        )
    job.draft.facts.update(n=features.shape[0], dimensions=features.shape[1])


def _from_file(embedder: FileEmbedder, job: Job) -> np.ndarray:
    """Return the user's vectors of the pool; every row is found by its number in the data."""
    assert embedder.path is not None
    origins, facts = read_origins(job.inputs), data_facts(job.inputs)
    if origins is None:
        rows = np.arange(1, facts["n_rows"] + 1)
        return vector_file.read(embedder.path, rows, facts["n_rows"])
    rows = origins.table["row"].to_numpy().astype(np.int64)
    if len(np.unique(rows)) < len(rows):
        raise UserError(
            "embedder=file needs data in one file, because row numbers start anew in every file: join the files"
        )
    return vector_file.read(embedder.path, rows, facts["n_read"])


def _transformer(texts: Texts, embedder: TransformerEmbedder, job: Job) -> np.ndarray:
    from gip_exp.models.encoder import transformer_encoder

    options: dict[str, Any] = {
        "model": _place(job, embedder),
        "pooling": embedder.pooling,
        "max_length": embedder.max_length,
        "dtype": embedder.dtype,
        "instruction": embedder.instruction,
        "batch_size": embedder.batch_size,
        "device": loading.device(job.config),
    }
    if embedder.processes == 1:
        return _in_shards(texts, partial(transformer_encoder, **options), job)

    def by_processes(order: np.ndarray, folder: Path, advance: "OnRows") -> None:
        work = job.draft.scratch(WORK)
        work.mkdir(exist_ok=True)
        np.save(work / ORDER, order)
        task = {"pool": str(job.inputs["data"].folder / POOL), "order": str(work / ORDER)}
        run_in_processes(
            shards_of_rank,
            {**task, "shards": str(folder), "encoder": options},
            processes=embedder.processes,
            nodes=node_count(os.environ),
            folder=work,
            report=lambda event: advance(event["rows"], event["kept"]),
        )

    return _collected(texts, job, by_processes)


def shards_of_rank(task: Mapping[str, Any], report: Callable[[Mapping[str, Any]], None]) -> None:
    """Encode this process's shards of the texts."""
    from gip_exp.models.encoder import transformer_encoder
    from gip_exp.models.shards import encode_shards

    options = dict(task["encoder"])
    if options["device"] == "cuda":
        options["device"] = f"cuda:{os.environ['LOCAL_RANK']}"
    encode_shards(
        Texts(read_table(Path(task["pool"]))),
        np.load(task["order"], mmap_mode="r"),
        partial(transformer_encoder, **options),
        Path(task["shards"]),
        lambda rows, kept: report({"rows": rows, "kept": kept}),  # rank 0 reports for all ranks
        rank=int(os.environ["RANK"]),
        world=int(os.environ["WORLD_SIZE"]),
    )


def _vllm(texts: Texts, embedder: VLLMEmbedder, job: Job) -> np.ndarray:
    from gip_exp.llm import loopback
    from gip_exp.llm.server import ServerSettings, VLLMServer
    from gip_exp.models.encoder import remote_encoder

    pooler = json.dumps({"pooling_type": embedder.pooling.upper()})
    settings = ServerSettings(
        model=_place(job, embedder),
        served_name="embedder",
        dtype=embedder.dtype,
        max_model_len=embedder.max_length,
        extra_args=("--runner=pooling", "--convert=embed", "--pooler-config", pooler, *embedder.server_args),
    )
    log = job.config.paths.root / "logs" / f"embedder_vllm_{os.getpid()}.log"
    job.console.say(f"  starting vLLM (log: {log})")
    with VLLMServer(settings, log) as server, server.explaining():
        make = partial(
            remote_encoder,
            "embedder",
            base_url=server.base_url,
            dimensions=None,
            batch_size=embedder.batch_size,
            concurrency=embedder.concurrency,
            own_key=loopback.key(),
            instruction=embedder.instruction,
            # As the transformers library does: the first tokens, and vectors of any length.
            extra_body={
                "truncate_prompt_tokens": embedder.max_length,
                "truncation_side": "right",
                "use_activation": False,
            },
        )
        return _in_shards(texts, make, job)


def _openai(texts: Texts, embedder: OpenAIEmbedder, job: Job) -> np.ndarray:
    from gip_exp.models.encoder import remote_encoder

    make = partial(
        remote_encoder,
        embedder.model,
        base_url=embedder.base_url,
        dimensions=embedder.dimensions,
        batch_size=embedder.batch_size,
        concurrency=embedder.concurrency,
    )
    return _in_shards(texts, make, job)


def _in_shards(texts: Texts, make: Callable[[], "Encoder"], job: Job) -> np.ndarray:
    """Encode all shards in this process."""
    from gip_exp.models.shards import encode_shards

    return _collected(
        texts, job, lambda order, folder, advance: encode_shards(texts, order, make, folder, advance)
    )


def _collected(texts: Texts, job: Job, encode: Callable[[np.ndarray, Path, "OnRows"], None]) -> np.ndarray:
    """Write the features from the shards that `encode(order, folder, advance)` makes; return them memory-mapped."""
    from gip_exp.models.shards import collect, longest_first

    folder, order = job.draft.scratch("shards"), longest_first(texts)
    with job.console.bar(f"embedding with {job.config.embedder_used.name}", len(texts)) as bar:
        encode(order, folder, bar.advance)
    return collect(folder, order, job.folder / FEATURES)


def _check(features: np.ndarray, name: str) -> None:
    finite = np.empty(len(features), dtype=bool)
    for start in range(0, len(features), BLOCK):
        finite[start : start + BLOCK] = np.isfinite(features[start : start + BLOCK]).all(axis=1)
    bad = np.flatnonzero(~finite)
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
    embedder = config.embedder_used
    if isinstance(embedder, NetworkEmbedder):
        return _missing_model(config, embedder) + _missing_engine(config, embedder)
    if isinstance(embedder, OpenAIEmbedder):
        from gip_exp.models.encoder import missing_key

        return missing_key(embedder.base_url)
    return vector_file.missing(embedder.path) if isinstance(embedder, FileEmbedder) else []


def _missing_model(config: Config, embedder: NetworkEmbedder) -> list[str]:
    if embedder.model is None:
        return loading.missing_requirements(config)
    return loading.missing_weights(embedder.model, embedder.revision, "embedder.model")


def _missing_engine(config: Config, embedder: NetworkEmbedder) -> list[str]:
    """Return why vLLM, or the processes, cannot be started."""
    if isinstance(embedder, VLLMEmbedder):
        return missing_vllm("embedder=vllm", "embedder=qwen3_embedding")
    assert isinstance(embedder, TransformerEmbedder)
    return missing_for_processes(
        "embedder.processes", embedder.processes, config, nodes=node_count(os.environ)
    )


def _code(config: Config) -> tuple[Root, ...]:
    kind = config.embedder_used.kind
    return (EMBEDDERS.function(kind),) if kind in EMBEDDERS.kinds() else ()


STAGE = Stage(
    "embed",
    _inputs,
    _settings,
    _build,
    _missing,
    resumable=True,
    needs_device=lambda config: isinstance(config.embedder_used, NetworkEmbedder),
    code=_code,
)
