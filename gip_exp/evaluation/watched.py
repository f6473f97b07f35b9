"""lm-eval's models with a progress bar of answered questions, and a note on replies that were cut at their longest length."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM

    from gip_exp.stage import Job

TITLE = "answering"


def local_model(job: "Job", **options: Any) -> "LM":
    """Return `HFLM(**options)`: a transformers model in this process."""
    from lm_eval.models.huggingface import HFLM

    class Watched(HFLM):
        def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
            with _answering(self, job, requests):
                return super().generate_until(requests, disable_tqdm)

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
            tokens = super()._model_generate(context, max_length, stop, **kwargs)
            self.bar.advance(len(context))
            if tokens.shape[1] >= max_length:
                self.cut += sum(not self._ended(row, stop) for row in tokens[:, context.shape[1] :].tolist())
            return tokens

        def _ended(self, row: list[int], stop: list[str]) -> bool:
            """Whether a reply is filled up after its end, or holds a stop string (the end of text is one)."""
            text = self.tokenizer.decode(row)
            return row[-1] == self.tokenizer.pad_token_id or any(end in text for end in stop)

    return Watched(**options)


def served_model(job: "Job", **options: Any) -> "LM":
    """Return `LocalCompletionsAPI(**options)`: a model behind an OpenAI-compatible server."""
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    class Watched(LocalCompletionsAPI):
        def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
            with _answering(self, job, requests):
                return super().generate_until(requests, disable_tqdm)

        async def amodel_call(self, session: Any, sem: Any, messages: Any, **kwargs: Any) -> Any:
            replies = await super().amodel_call(session, sem, messages, **kwargs)
            self.bar.advance(len(messages))
            return replies

        def parse_generations(self, outputs: Any, **kwargs: Any) -> list[str]:
            for output in outputs if isinstance(outputs, list) else [outputs]:
                self.cut += sum(choice.get("finish_reason") == "length" for choice in output["choices"])
            return super().parse_generations(outputs, **kwargs)

    return Watched(**options)


@contextmanager
def _answering(model: Any, job: "Job", requests: "list[Instance]") -> Iterator[None]:
    """Show the progress, count in `model.cut` the replies that had not ended at their longest length, and say how many."""
    model.cut = 0
    with job.console.bar(TITLE, len(requests)) as model.bar:
        yield
    job.draft.facts["replies_cut"] = job.draft.facts.get("replies_cut", 0) + model.cut
    if model.cut:
        longest = sorted({str(request.args[1].get("max_gen_toks", "?")) for request in requests})
        job.note(
            f"{model.cut:,} of {len(requests):,} replies were cut after {' or '.join(longest)} tokens, before they ended: "
            "an answer that would have come later does not count "
            "(max_new_tokens of the evaluation; of lm-eval's own tasks, max_gen_toks)"
        )
