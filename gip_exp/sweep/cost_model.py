"""Estimated time and disk of a stage: those of comparable outputs in the store, else the rules below.

The rules give orders of magnitude: a GPU computes at `TFLOPS` in training and prefill and reads the weights once per
generated token at `BANDWIDTH`; text has four bytes per token. A stage without a model and without a comparable output
has no estimate (it takes seconds to minutes on a CPU).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from gip_exp.config import Config
from gip_exp.config.embedder import NetworkEmbedder
from gip_exp.config.model import Model
from gip_exp.config.sampler import EndpointSampler, ModelSampler
from gip_exp.config.selector import LessSelector
from gip_exp.config.train import LoraTrain
from gip_exp.evaluation import registry
from gip_exp.evaluation.spec import Questions
from gip_exp.models import converted, gguf_file, loading
from gip_exp.models.packaged import resolved
from gip_exp.runs.folder import RESULT
from gip_exp.signals.table import SOURCE_STAGE
from gip_exp.training.task import total_steps

TFLOPS = 200.0  # bfloat16 LoRA training with transformers on an A100 or H100, roughly
BANDWIDTH = 2.0  # TB/s of the GPU's memory
CPU_TFLOPS = 0.03  # two cores, float32
CPU_BANDWIDTH = 0.02
START = 60.0  # seconds to load a large model, or to start a server
STEP = 0.025  # minimum seconds per generated token, for any model
BYTES_A_TOKEN = 4
OUTCOME = 200  # bytes per question in a file of predictions, without the texts
MATRICES = 7  # weight matrices per layer that LoRA can adapt
SERVED_BATCH = 256  # batch size of vLLM
OWN_SETTINGS = ("seed", "selected", "projection_seed")  # comparable outputs may differ in these
ENOUGH = 200  # measurements for a line, whose time grows with their square
ENCODER, WIDTH = 0.6e9, 1_024  # parameters and dimensions of a sentence encoder, at most


@dataclass(frozen=True)
class Rows:
    """Numbers of rows of a data set, and mean tokens per row (prompt, completion)."""

    pool: int
    test: int
    prompt_tokens: float
    completion_tokens: float

    @property
    def tokens(self) -> float:
        """Mean tokens per row."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Cost:
    """Seconds and bytes of one stage output; `known` is its source: measured, rule, or '' for no estimate."""

    seconds: float
    size: float
    known: str


@dataclass(frozen=True)
class Speed:
    """Speed of the GPU, from the command line."""

    tflops: float = TFLOPS
    bandwidth: float = BANDWIDTH


def parameters(model: Model) -> float:
    """Return the model's parameters: from its files, its config entry, or the shape of one trained from scratch."""
    if model.scratch is not None:
        s = model.scratch
        return s.vocab_size * s.hidden + s.layers * (4 * s.hidden**2 + 3 * s.hidden * s.feed_forward)
    if model.gguf:
        return gguf_file.parameters(Path(resolved(model.path or ""))) or model.parameters or 0.0
    folder = Path(resolved(model.path or ""))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return size / loading.BYTES[model.dtype] if size else (model.parameters or 0.0)


def on_gpu(config: Config) -> bool:
    """Return whether the model needs a GPU."""
    return config.engine.device == "cuda" or parameters(config.model) > loading.LARGEST_ON_CPU


class Measured:
    """Seconds and sizes of the outputs in the store, grouped by settings without seeds and selected rows."""

    def __init__(self, root: Path) -> None:
        self._found: dict[str, list[tuple[float, float, float]]] = {}
        self._rows: dict[str, int] = {}  # data key -> rows
        paths = [path for path in (root / "store").glob("*/*/manifest.json") if "." not in path.parent.name]
        for path in sorted(paths, key=lambda path: path.parent.parent.name != "data"):
            self._add(path)

    def _add(self, path: Path) -> None:
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["stage"] == "data":
                self._rows[manifest["key"]] = manifest["facts"]["n_rows"]
            group = _group(manifest, self._rows.get(manifest["inputs"].get("data")))
            size = sum(file["bytes"] for file in manifest["files"].values())
            work = _work(manifest["settings"], manifest["facts"].get("examples"))
            self._found.setdefault(group, []).append((float(manifest["seconds"]), float(size), work))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # damaged outputs are ignored

    def of(self, identity: Mapping[str, Any], n_rows: int, examples: int | None) -> Cost | None:
        """Return the cost of comparable outputs on the same number of rows, by the examples trained on."""
        found = self._found.get(_group(identity, n_rows if "data" in identity["inputs"] else None))
        if not found:
            return None
        work = _work(identity["settings"], examples)
        seconds = at_work(work, [(measured, seconds) for seconds, _, measured in found])
        return Cost(seconds, median(size for _, size, _ in found), "measured")


def at_work(work: float, measured: Sequence[tuple[float, float]]) -> float:
    """Return the seconds of some work: a line through the measurements (Theil-Sen), else in proportion to the work.

    The line has a start, because a training loads its model whatever it learns; outliers do not move it.

    Args:
        work: The examples to process.
        measured: (examples, seconds) of comparable outputs, at least one.
    """
    pairs = combinations(measured[:ENOUGH], 2)
    slopes = [(t2 - t1) / (w2 - w1) for (w1, t1), (w2, t2) in pairs if w1 != w2]
    if slopes and (slope := median(slopes)) >= 0:
        start = median(seconds - slope * of for of, seconds in measured)
        if start >= 0:
            return start + slope * work
    return median(seconds * work / of for of, seconds in measured)


def run_folder_size(root: Path) -> float | None:
    """Return the median bytes of the folders of finished runs (predictions, selected rows); None without any."""
    sizes = [
        sum(path.stat().st_size for path in result.parent.rglob("*") if path.is_file())
        for result in (root / "runs").glob(f"*/*/{RESULT}")
    ]
    return median(sizes) if sizes else None


def _group(identity: Mapping[str, Any], n_rows: int | None) -> str:
    """Return the same text for comparable outputs."""
    return json.dumps([identity["name"], n_rows, _without_seeds(identity["settings"])], sort_keys=True)


def _without_seeds(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_seeds(item) for key, item in value.items() if key not in OWN_SETTINGS}
    return value


def _work(settings: Mapping[str, Any], examples: int | None) -> float:
    """Return the examples processed in training; 1 for any other stage."""
    train = settings.get("train")
    if not examples or not isinstance(train, Mapping):
        return 1.0
    return float(train["steps"] * train["batch"] if train.get("steps") else train["epochs"] * examples)


def by_rule(name: str, config: Config, rows: Rows, n_selected: int, speed: Speed) -> Cost:
    """Return the cost by the rules above."""
    size = _bytes(name, config, rows, n_selected)
    work = _flops(name, config, rows, n_selected)
    if not work:
        return Cost(0.0, size, "")
    gpu = on_gpu(config)
    flops = (speed.tflops if gpu else CPU_TFLOPS) * 1e12
    reading = (speed.bandwidth if gpu else CPU_BANDWIDTH) * 1e12
    seconds = work / flops + _sequential_tokens(name, config, rows) * max(
        STEP if gpu else 0.0, parameters(config.model) * loading.BYTES[config.model.dtype] / reading
    )
    return Cost(seconds + (START if gpu else 0.0), size, "rule")


def _flops(name: str, config: Config, rows: Rows, n_selected: int) -> float:
    """Return the operations of the model: per parameter and token, 2 forward, 4 with gradients, 6 with recomputation."""
    size, train, selector = parameters(config.model), config.train, config.selector
    if name.partition("/")[0] == "train" and isinstance(train, LoraTrain):
        seen = total_steps(train, n_selected) / config.rounds * train.batch
        return size * _backward(train) * seen * min(rows.tokens, train.max_length)
    if name == "base" and config.model.scratch:
        return (
            size * 6 * config.model.scratch.steps * config.model.scratch.batch * config.model.scratch.tokens
        )
    if name in ("warmup", "gradients") and isinstance(selector, LessSelector):
        epochs = selector.warmup.epochs or 1
        share = selector.warmup_share if name == "warmup" else 1.0
        return size * _backward(selector.warmup) * epochs * share * rows.pool * rows.tokens
    if name == "embed" and isinstance(config.embedder_used, NetworkEmbedder):
        return 2 * (size if config.embedder_used.model is None else ENCODER) * rows.pool * rows.tokens
    if name == "score/losses" or name.startswith("score/tuned"):  # once with the prompt, once without
        own = getattr(selector, "model", None) if name == "score/losses" else None
        tokens = 2 * rows.tokens - rows.prompt_tokens
        return 2 * (size if own is None else ENCODER) * rows.pool * tokens
    questions = _questions(name, config, rows)
    return 2 * size * questions.n * (questions.read + questions.written)


def _backward(train: LoraTrain) -> int:
    return 6 if train.gradient_checkpointing else 4


def samples(sampler: ModelSampler | EndpointSampler, rows: Rows) -> int:
    """Return the number of replies that self-consistency needs."""
    return rows.pool * sampler.samples


def _questions(name: str, config: Config, rows: Rows) -> Questions:
    """Return the replies and tokens that a stage needs from the model."""
    if name == SOURCE_STAGE["self_consistency"] and isinstance(config.sampler, ModelSampler):
        written = min(config.sampler.max_tokens, 2 * rows.completion_tokens)
        return Questions(samples(config.sampler, rows), rows.prompt_tokens, written)
    group, _, evaluation = name.partition("/")
    if group != "evaluate":
        return Questions()
    return registry.find(evaluation).questions(config.evaluation.chosen()[evaluation], rows)


def _sequential_tokens(name: str, config: Config, rows: Rows) -> float:
    """Return the tokens that must be generated one after the other: batches times the length of an answer."""
    batch = SERVED_BATCH if config.engine.kind == "vllm" else config.engine.batch_size
    questions = _questions(name, config, rows)
    return math.ceil(questions.n / questions.turns / batch) * questions.turns * questions.written


def _bytes(name: str, config: Config, rows: Rows, n_selected: int) -> float:
    text = rows.tokens * BYTES_A_TOKEN
    selector, train = config.selector, config.train
    if (questions := _questions(name, config, rows)).n:
        return questions.n * (questions.written * BYTES_A_TOKEN * 3 + OUTCOME)
    if isinstance(selector, LessSelector) and name in ("warmup", "gradients"):
        epochs = selector.warmup.epochs or 1
        if name == "gradients":
            return 4.0 * rows.pool * selector.dimensions * epochs
        return 3 * _adapter(config.model, selector.warmup) * epochs  # including Adam's moments
    if name in (files := converted.files(config)):  # in float32, also where it is loaded in another precision
        return 4.0 * (gguf_file.parameters(Path(resolved(files[name]))) or 0.0)
    own = {
        "base": parameters(config.model) * loading.BYTES[config.model.dtype],
        "embed": rows.pool * 4.0 * (getattr(config.embedder_used, "dimensions", None) or WIDTH),
        "select": n_selected * text * 2,  # in the store and in the run folder
        "train": _adapter(config.model, train) if isinstance(train, LoraTrain) else 0.0,
    }
    return own.get(name.partition("/")[0], 0.0)


def _adapter(model: Model, train: LoraTrain) -> float:
    """Return the bytes of a LoRA adapter in float32: two thin matrices per weight matrix, assumed square."""
    size = parameters(model)
    # A transformer of usual depth: 12 width^2 parameters per layer, width / 128 layers.
    width = max(1.0, (size * 10.7) ** (1 / 3))
    targets = train.target_modules
    adapted = len(targets) / MATRICES if isinstance(targets, list) else 1.0
    return 4.0 * size * adapted * min(1.0, 2 * train.r / width)
