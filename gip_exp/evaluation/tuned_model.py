"""The tuned model in this process or in a vLLM server, with the same interface for every evaluation."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from gip_exp.artifacts import ADAPTER
from gip_exp.evaluation import adapter_check, watched
from gip_exp.llm import kept_server
from gip_exp.models import kept_model, loading
from gip_exp.models.prompts import Renderer, renderer
from gip_exp.stage import Job

if TYPE_CHECKING:
    from lm_eval.api.model import LM

    from gip_exp.llm.server import VLLMServer
    from gip_exp.llm.settings import EndpointSettings

BASE = "base"  # name of the base model in vLLM
IN_FLIGHT = 64  # concurrent requests


class ServedModel(Protocol):
    """A model that continues rendered prompts."""

    def lm(self) -> "LM":
        """Return the model as an lm-eval model."""

    def generate(self, texts: Sequence[str], *, temperature: float, max_tokens: int) -> list[str]:
        """Generate one continuation per text."""


@dataclass
class TunedModel:
    """The parts of the tuned model: folders of base and adapter, tokenizer, prompt format.

    The model is loaded only inside `loaded` and `serve`, so that the device is free for a judge's server.
    """

    job: Job
    checked: bool = False

    @cached_property
    def place(self) -> str:
        """Folder or hub id of the base model."""
        return loading.location(self.job.config, self.job.inputs)

    @cached_property
    def adapter(self) -> str | None:
        """Folder of the adapter; None for the untuned model."""
        return str(self.job.inputs["train"].folder / ADAPTER) if "train" in self.job.inputs else None

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the base model."""
        return loading.load_tokenizer(self.place)

    @cached_property
    def render(self) -> Renderer:
        """The model family's prompt format."""
        return renderer(self.job.config.model.prompt, self.tokenizer)

    @contextmanager
    def loaded(self) -> Iterator[Any]:
        """Load the model with its adapter in this process. It stays loaded until another model needs the device."""
        config = self.job.config
        where = loading.device(config)
        with kept_model.loaded(self.place, self.adapter, config.model.dtype, where) as model:
            if self.adapter and config.engine.check_adapter and not self.checked:
                adapter_check.check_loaded(model, self.tokenizer, self.probes(), self.adapter)
                self.checked = True
            yield model

    def probes(self) -> list[str]:
        """Return the prompts of the adapter check, in the model's format."""
        return [self.render.prompt(question) for question in adapter_check.QUESTIONS]


class LocalModel:
    """`engine=hf`: transformers in this process."""

    def __init__(self, tuned: TunedModel, model: Any) -> None:
        self._tuned, self._model = tuned, model
        self._batch = tuned.job.config.engine.batch_size

    def lm(self) -> "LM":
        """Return the model as an lm-eval model."""
        return watched.local_model(
            self._tuned.job,
            pretrained=self._model,
            tokenizer=self._tuned.tokenizer,
            batch_size=self._batch,
            backend="causal",
        )

    def generate(self, texts: Sequence[str], *, temperature: float, max_tokens: int) -> list[str]:
        """Generate one continuation per text."""
        from gip_exp.llm.generate import LocalGenerator

        with self._tuned.job.console.bar(watched.TITLE, len(texts)) as bar:
            generator = LocalGenerator(
                self._model, self._tuned.tokenizer, batch_size=self._batch, on_rows=bar.advance
            )
            return generator.generate(list(texts), temperature=temperature, max_tokens=max_tokens)


class VllmModel:
    """`engine=vllm`: a model or adapter, by name, in a vLLM server started by this process."""

    def __init__(self, tuned: TunedModel, server: "VLLMServer", name: str) -> None:
        self._tuned, self._server, self._name = tuned, server, name

    def lm(self) -> "LM":
        """Return the model as an lm-eval model."""
        from gip_exp.llm import loopback

        return watched.served_model(
            self._tuned.job,
            model=self._name,
            base_url=f"{self._server.base_url}/completions",
            tokenizer=self._tuned.place,
            tokenizer_backend="huggingface",
            tokenized_requests=False,  # the server tokenises as in training, including the start token
            num_concurrent=IN_FLIGHT,
            max_length=_context(self._tuned),
            header=loopback.bearer(),  # lm-eval would send OPENAI_API_KEY
        )

    def endpoint(self) -> "EndpointSettings":
        """Return the settings for requests to the model."""
        from gip_exp.llm.settings import EndpointSettings

        return EndpointSettings(
            model=self._name,
            base_url=self._server.base_url,
            api_key_env=self._server.key_variable,
            identity=self._server.identity(self._name),
            concurrency=IN_FLIGHT,
        )

    def generate(self, texts: Sequence[str], *, temperature: float, max_tokens: int) -> list[str]:
        """Generate one continuation per text."""
        from gip_exp.llm.generate import EndpointGenerator
        from gip_exp.llm.progress import shown_on
        from gip_exp.signals.judge_endpoint import CACHE

        job = self._tuned.job
        with job.console.bar(watched.TITLE, len(texts)) as bar:
            generator = EndpointGenerator(
                self.endpoint(), cache_dir=job.config.paths.root / CACHE, progress=shown_on(bar)
            )
            return generator.generate(list(texts), temperature=temperature, max_tokens=max_tokens)


def _context(tuned: TunedModel) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tuned.place, trust_remote_code=False)
    most = tuned.job.config.engine.max_model_len
    own = int(config.get_text_config().max_position_embeddings)
    return own if most is None else min(own, most)


@contextmanager
def serve(tuned: TunedModel) -> Iterator[ServedModel]:
    """Serve the tuned model by the config's `engine`. A vLLM server keeps running for further adapters of the base."""
    config = tuned.job.config
    if config.engine.kind == "hf":
        with tuned.loaded() as model:
            yield LocalModel(tuned, model)
        return
    from gip_exp.llm.server import ServerSettings

    adapter = tuned.adapter
    name = f"tuned-{tuned.job.inputs['train'].key}" if adapter else BASE
    if adapter:
        loading.check_adapter(tuned.place, adapter)
    settings = ServerSettings(
        model=tuned.place,
        adapters={name: adapter} if adapter else {},
        served_name=BASE,
        dtype=config.model.dtype,
        max_model_len=_context(tuned),
        enforce_eager=config.engine.enforce_eager,
        extra_args=tuple(config.engine.server_args),
    )
    log = config.paths.root / "logs" / f"vllm_{os.getpid()}.log"
    with kept_server.serving(settings, log, say=tuned.job.console.say) as server:
        if adapter and config.engine.check_adapter:
            adapter_check.check_served(server, name, tuned.probes(), adapter)
        yield VllmModel(tuned, server, name)
