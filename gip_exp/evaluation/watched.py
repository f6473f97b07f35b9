"""lm-eval's models with a progress bar of answered questions on the console."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    from gip_exp.console import Console

TITLE = "answering"


def local_model(console: "Console", **options: Any) -> "LM":
    """Return `HFLM(**options)`: a transformers model in this process."""
    from lm_eval.models.huggingface import HFLM

    class Watched(HFLM):
        def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
            with console.bar(TITLE, len(requests)) as self.bar:
                return super().generate_until(requests, disable_tqdm)

        def _model_generate(self, context: Any, *args: Any, **kwargs: Any) -> Any:
            tokens = super()._model_generate(context, *args, **kwargs)
            self.bar.advance(len(context))
            return tokens

    return Watched(**options)


def served_model(console: "Console", **options: Any) -> "LM":
    """Return `LocalCompletionsAPI(**options)`: a model behind an OpenAI-compatible server."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    class Watched(LocalCompletionsAPI):
        def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
            with console.bar(TITLE, len(requests)) as self.bar:
                return super().generate_until(requests, disable_tqdm)

        async def amodel_call(self, session: Any, sem: Any, messages: Any, **kwargs: Any) -> Any:
            replies = await super().amodel_call(session, sem, messages, **kwargs)
            self.bar.advance(len(messages))
            return replies

    return Watched(**options)
