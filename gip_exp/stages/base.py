"""`base`: a tiny model of the Qwen3 architecture, trained from scratch (only with `model.scratch`).

Its corpus contains the language of the task, but no question with its answer. It is saved as an ordinary model folder,
which later stages load like any other model. The tokenizer is fitted on the corpus and the texts of the pool.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gip_exp.artifacts import read_pool, text_of
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.model import Scratch
from gip_exp.quiet import no_loading_bars
from gip_exp.stage import Entries, Job, Stage


def _scratch(config: Config) -> Scratch:
    assert config.model.scratch is not None, f"model {config.model.name} is not trained from scratch"
    return config.model.scratch


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    return {**content(_scratch(config)), "dtype": config.model.dtype}


def _build(job: Job) -> None:
    from gip_exp.models.scratch.pretrain import pretrain, save

    scratch = _scratch(job.config)
    pool = read_pool(job.inputs)
    documents = _documents(scratch, pool)
    model, tokenizer = _untrained(scratch, documents + [text_of(example) for example in pool])
    with job.console.bar(f"training {job.config.model.name} from scratch", scratch.steps) as bar:
        result = pretrain(
            model,
            tokenizer,
            documents,
            steps=scratch.steps,
            batch_size=scratch.batch,
            length=scratch.tokens,
            lr=scratch.lr,
            muon_lr=scratch.muon_lr,
            weight_decay=scratch.weight_decay,
            seed=scratch.seed,
            taught=_taught(scratch),
            on_step=lambda step, total, loss: bar.update(step, total, f"loss {loss:.3f}"),
        )
    no_loading_bars()
    save(model, tokenizer, job.folder)
    job.draft.facts.update(
        parameters=model.num_parameters(),
        steps=scratch.steps,
        tokens=result.tokens,
        loss=round(result.losses[-1], 4),
    )


def _untrained(scratch: Scratch, texts: list[str]) -> tuple[Any, Any]:
    """Return (untrained model, tokenizer fitted on the texts)."""
    from gip_exp.models.scratch.pretrain import build_model, number_embeddings
    from gip_exp.models.scratch.tokenizer import byte_level, word_level

    tokenizer = word_level(texts) if scratch.tokenizer == "word" else byte_level(texts, scratch.vocab_size)
    model = build_model(
        tokenizer,
        hidden_size=scratch.hidden,
        layers=scratch.layers,
        heads=scratch.heads,
        kv_heads=scratch.kv_heads,
        feed_forward=scratch.feed_forward,
        max_length=scratch.context,
        seed=scratch.seed,
    )
    if scratch.corpus == "arithmetic":
        number_embeddings(model, tokenizer)
    return model, tokenizer


def _documents(scratch: Scratch, pool: Sequence[Mapping[str, str]]) -> list[str]:
    if scratch.corpus == "arithmetic":
        from gip_exp.data.arithmetic import make_corpus

        return make_corpus(scratch.documents, scratch.seed)
    return [example["prompt"] for example in pool[: scratch.documents]]


def _taught(scratch: Scratch) -> Callable[[str], list[tuple[int, int]]] | None:
    if scratch.corpus != "arithmetic":
        return None
    from gip_exp.data.arithmetic import taught

    return taught


STAGE = Stage("base", lambda _: ("data",), _settings, _build, needs_device=lambda _: True)
