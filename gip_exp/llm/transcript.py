"""Judged examples in readable form: what the judge was sent, its replies, and how they were parsed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gip_exp.errors import printable
from gip_exp.llm.cache import Cache
from gip_exp.llm.judge import read_reply, vote_requests
from gip_exp.llm.judge_table import Example, JudgeSettings
from gip_exp.llm.request import cache_key
from gip_exp.llm.rubric import Rubric


@dataclass(frozen=True)
class JudgeReply:
    """One reply of a judge, as it is in the reply cache.

    Attributes:
        vote: number of the vote, from 1.
        attempt: number of the attempt, from 1.
        text: the reply.
        read: the scores that were read from it, or why there are none.
        tokens: prompt and completion tokens, as billed.
    """

    vote: int
    attempt: int
    text: str
    read: str
    tokens: tuple[int, int]


def replies(example: Example, rubric: Rubric, settings: JudgeSettings, cache: Cache) -> list[JudgeReply]:
    """Return the replies to one example in the cache, vote by vote. Sends nothing."""
    found = []
    for vote in range(settings.votes):
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
            tokens = (reply.prompt_tokens, reply.completion_tokens)
            found.append(JudgeReply(vote + 1, attempt + 1, reply.text, read, tokens))
            if parsed.scores is not None:
                break
    return found


def transcript(example: Example, rubric: Rubric, settings: JudgeSettings, *, cache_dir: Path) -> str:
    """Return Markdown with the messages, then the replies of every vote from the reply cache. Sends nothing."""
    parts = [f"# {printable(example['id'])}, judged by {settings.endpoint.model}, rubric {rubric.name}"]
    for message in rubric.messages(example["prompt"], example["completion"]):
        parts.append(f"## {message['role']}\n\n{_block(message['content'])}")
    with Cache(cache_dir) as cache:
        for reply in replies(example, rubric, settings, cache):
            counts = "{} + {} tokens".format(*reply.tokens)
            parts.append(
                f"## Vote {reply.vote}, attempt {reply.attempt} ({counts})\n\n{_block(reply.text)}\n\n{reply.read}"
            )
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    """Return a fenced block whose fence the text cannot close, with control characters escaped."""
    text = printable(text)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text}\n{fence}"
