"""One judged example in readable form: what the judge was sent, its replies, and how they were parsed."""

from __future__ import annotations

from pathlib import Path

from gip_exp.errors import printable
from gip_exp.llm.cache import Cache
from gip_exp.llm.judge import read_reply, vote_requests
from gip_exp.llm.judge_table import Example, JudgeSettings
from gip_exp.llm.request import cache_key
from gip_exp.llm.rubric import Rubric


def transcript(example: Example, rubric: Rubric, settings: JudgeSettings, *, cache_dir: Path) -> str:
    """Return Markdown with the messages, then the replies of every vote from the reply cache. Sends nothing."""
    parts = [f"# {printable(example['id'])}, judged by {settings.endpoint.model}, rubric {rubric.name}"]
    for message in rubric.messages(example["prompt"], example["completion"]):
        parts.append(f"## {message['role']}\n\n{_block(message['content'])}")
    with Cache(cache_dir) as cache:
        for vote in range(settings.votes):
            parts += _vote(example, rubric, settings, vote, cache)
    return "\n\n".join(parts) + "\n"


def _vote(example: Example, rubric: Rubric, settings: JudgeSettings, vote: int, cache: Cache) -> list[str]:
    parts = []
    for attempt, request in enumerate(vote_requests(example, rubric, settings, vote)):
        reply = cache.get(cache_key(request, settings.endpoint))
        if reply is None:
            break
        parsed = read_reply(reply, rubric)
        if parsed.scores is None:
            read = f"Not readable: {parsed.reason}"
        else:
            pairs = zip(rubric.names, parsed.scores, strict=True)
            read = "Read as: " + ", ".join(f"{name} {score:g}" for name, score in pairs)
        counts = f"{reply.prompt_tokens} + {reply.completion_tokens} tokens"
        parts.append(
            f"## Vote {vote + 1}, attempt {attempt + 1} ({counts})\n\n{_block(reply.text)}\n\n{read}"
        )
        if parsed.scores is not None:
            break
    return parts


def _block(text: str) -> str:
    """Return a fenced block whose fence the text cannot close, with control characters escaped."""
    text = printable(text)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
