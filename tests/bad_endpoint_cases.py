"""What endpoints do: how each of it must end when a judge's rows are graded there."""

# A table: one case a line, however long.
# fmt: off
# ruff: noqa: E501

import asyncio
import email.utils
import gzip
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

NAMES = ("helpfulness", "accuracy", "reasoning", "clarity", "difficulty")
PAST = 5  # replies of a case that begins well


@dataclass(frozen=True)
class Ask:
    """A request as a case sees it: its row, how often the row was asked before, the right grades, the key it came with."""

    case: str
    row: int
    nth: int
    grades: dict[str, int]
    key: str
    host: str


Behave = Callable[[Ask, asyncio.StreamWriter], Awaitable[bool]]  # whether the connection is to be kept


@dataclass(frozen=True)
class Case:
    """One misbehaviour.

    when: `always`; `passing`: at the first two requests of a row; `early`: at the first requests of all; `some`: for every third row; `later`: after the first
    few replies. end: `scored`: every row gets its grades; `missing`: every third row has none, which is counted; `refused`:
    one message, and what was bought is kept. says: what the command must print.
    """

    name: str
    when: str
    end: str
    behave: Behave
    says: tuple[str, ...] = ()

    def meets(self, row: int, before: int, total: int) -> bool:
        """Whether a request meets it."""
        return {"always": True, "passing": before < 2, "early": total < 3, "some": row % 3 == 0, "later": total >= PAST}[self.when]


def reply(grades: Any, *, usage: Any = "", model: Any = "judge", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    """A usual response; `message` adds to the message or replaces parts of it."""
    counts = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} if usage == "" else usage
    text = grades if isinstance(grades, str) else json.dumps(grades)
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text} | message}
    return {"id": "x", "model": model, "choices": [choice]} | ({} if usage is None else {"usage": counts})


def http(body: Any = b"", status: int | str = 200, headers: str = "", length: int | None = None, version: str = "1.1") -> bytes:
    """The bytes of a response; `headers` are lines that end in CRLF."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "" if "content-type" in headers.lower() else "Content-Type: application/json\r\n"
    size = f"Content-Length: {len(data) if length is None else length}\r\n" if length != -1 else ""
    return f"HTTP/{version} {status} X\r\n{kind}{headers}{size}\r\n".encode("latin-1") + data


def says(make: Callable[[Ask], bytes], *, keep: bool = True) -> Behave:
    """Send these bytes."""

    async def behave(ask: Ask, writer: asyncio.StreamWriter) -> bool:
        writer.write(make(ask))
        await writer.drain()
        return keep

    return behave


def answers(make: Callable[[dict[str, int]], Any], headers: str = "") -> Behave:
    """Send a response with status 200 made of the right grades."""
    return says(lambda ask: http(make(ask.grades), 200, headers))


def errs(status: int | str, message: str = "no", headers: str = "", **fields: Any) -> Behave:
    """Send an error in OpenAI's form."""
    return says(lambda _: http({"error": {"message": message} | fields}, status, headers))


def drips(make: Callable[[Ask], bytes], parts: int, every_s: float, start: int = 0) -> Behave:
    """Send bytes in parts with pauses."""

    async def behave(ask: Ask, writer: asyncio.StreamWriter) -> bool:
        data = make(ask)
        writer.write(data[:start])
        step = max(1, (len(data) - start) // parts)
        for place in range(start, len(data), step):
            writer.write(data[place : place + step])
            await writer.drain()
            await asyncio.sleep(every_s)
        return True

    return behave


async def hangs(_: Ask, __: asyncio.StreamWriter) -> bool:
    """Accept, and stay silent."""
    await asyncio.sleep(30)
    return False


async def resets(ask: Ask, writer: asyncio.StreamWriter) -> bool:
    """Reset the connection in the middle of a body."""
    writer.write(http(reply(ask.grades))[:-60])
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def never_ends(_: Ask, writer: asyncio.StreamWriter) -> bool:
    """Send a body without end, fast."""
    writer.write(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _n in range(400):
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        await writer.drain()
    return False


def chunked(data: bytes, size: int = 7, end: bytes = b"0\r\n\r\n") -> bytes:
    """A response in chunks."""
    parts = (data[i : i + size] for i in range(0, len(data), size))
    return b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + end


def good(ask: Ask) -> bytes:
    """The right response."""
    return http(reply(ask.grades))


def plain(ask: Ask) -> bytes:
    """The body of the right response."""
    return json.dumps(reply(ask.grades)).encode()


def wrong(**changes: Any) -> Behave:
    """Answer with grades of which some are replaced, or taken out by `...`."""
    return answers(lambda grades: reply({name: grade for name, grade in (grades | changes).items() if grade is not ...}))


def date(seconds: float) -> str:
    """A date of HTTP, so far from now."""
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def limit(after: str) -> Behave:
    """Refuse for too many requests, with this Retry-After."""
    return errs(429, "slow down", f"Retry-After: {after}\r\n")


def moved(status: int) -> Behave:
    """Send somewhere else."""
    return says(lambda ask: http(b"", status, f"Location: http://{ask.host.split(': ')[1]}/elsewhere/{ask.case}/v1/chat/completions\r\n"))


CALL = {"content": None, "tool_calls": [{"type": "function", "function": {"name": "grade", "arguments": "{}"}}]}
PAGE = b"<!doctype html><title>Sign in</title>"


def call(grades: dict[str, int]) -> dict[str, Any]:
    """A tool call that holds the grades."""
    return reply("", content=None, tool_calls=[{"type": "function", "function": {"name": "g", "arguments": json.dumps(grades)}}])


def two(grades: dict[str, int]) -> dict[str, Any]:
    """Two choices, the second one another."""
    other = reply(dict.fromkeys(grades, 1))["choices"]
    return reply(grades) | {"choices": [*reply(grades)["choices"], *other]}


TOLERATED = {
    "another name for the model": answers(lambda grades: reply(grades, model="judge-2026-01")),
    "no name for the model": answers(lambda grades: reply(grades, model=None)),
    "a web page's content-type": answers(reply, "Content-Type: text/html; charset=latin-1\r\n"),
    "no content-type": answers(reply, "Content-Type:\r\n"),
    "a byte order mark": answers(lambda grades: b"\xef\xbb\xbf" + json.dumps(reply(grades)).encode()),
    "UTF-16": answers(lambda grades: json.dumps(reply(grades)).encode("utf-16")),
    "grades in a fence": answers(lambda grades: reply(f"```json\n{json.dumps(grades)}\n```")),
    "grades after thinking": answers(lambda grades: reply(f'<think>{{"accuracy": 1}}</think>\n{json.dumps(grades)}')),
    "grades as blocks": answers(lambda grades: reply("", content=[{"type": "text", "text": json.dumps(grades)}])),
    "grades as a tool call": answers(call),
    "reasoning beside the grades": answers(lambda grades: reply(grades, reasoning_content='{"accuracy": 1}')),
    "further grades": wrong(charm=9),
    "capitals in the names": answers(lambda grades: reply({name.upper(): grade for name, grade in grades.items()})),
    "floats": answers(lambda grades: reply({name: float(grade) for name, grade in grades.items()})),
    "two choices": answers(two),
    "another finish": answers(lambda grades: reply(grades, finish="FinishReason.END_TURN")),
    "no usage": answers(lambda grades: reply(grades, usage=None)),
    "negative usage": answers(lambda grades: reply(grades, usage={"prompt_tokens": -5, "completion_tokens": -1})),
    "usage in words": answers(lambda grades: reply(grades, usage={"prompt_tokens": "many", "total_tokens": [1]})),
    "immense usage": answers(lambda grades: reply(grades, usage={"prompt_tokens": 10**30, "completion_tokens": 1e308})),
    "usage as text": answers(lambda grades: reply(grades, usage="none")),
    "chunks": says(lambda ask: chunked(plain(ask))),
    "a connection closed after each reply": says(lambda ask: http(reply(ask.grades), headers="Connection: close\r\n"), keep=False),
    "HTTP 1.0 without a length": says(lambda ask: http(reply(ask.grades), length=-1, version="1.0"), keep=False),
    "early hints": says(lambda ask: b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + good(ask)),
    "a cookie and long headers": answers(reply, f"Set-Cookie: a=b\r\nX-Long: {'x' * 7000}\r\n"),
    "bytes one by one, in time": drips(good, 20, 0.01),
    "a second reply that nobody asked for": says(lambda ask: good(ask) + http(reply(dict.fromkeys(ask.grades, 1)))),
}
PASSING = {
    "status 500": errs(500), "status 502 with a page": says(lambda _: http(PAGE, 502)), "status 503": errs(503, headers="Retry-After: 0\r\n"),
    "status 504": says(lambda _: http(b"", 504)), "status 529": errs(529, "overloaded"), "status 408": errs(408), "status 409": errs(409),
    "status 425": errs(425), "status 599": errs(599),
    "status 429": errs(429, "slow down"),
    "a date that has passed": says(lambda _: http({"error": {"message": "slow"}}, 429, f"Retry-After: {date(-500)}\r\n")),
    "a negative time": limit("-5"), "no time": limit("0"), "an empty time": limit(""), "a time in words": limit("soon"),
    "a time in another script": limit("\xb2"), "a time that is not a number": errs(429, headers="Retry-After-Ms: nan\r\n"),
    "two times": limit("0.1, 0.2"),
    "closed without a word": says(lambda _: b"", keep=False),
    "reset in the middle": resets,
    "half a body": says(lambda ask: good(ask)[:-60], keep=False),
    "half a body, said to be whole": says(lambda ask: http(plain(ask)[:-60])),
    "a length too small": says(lambda ask: http(plain(ask), length=len(plain(ask)) - 20)),
    "a length too large": drips(lambda ask: http(plain(ask), length=len(plain(ask)) + 20), 1, 1.2),
    "a length that is no number": says(lambda ask: http(plain(ask), headers="Content-Length: many\r\n", length=-1)),
    "two lengths": says(lambda ask: http(plain(ask), headers="Content-Length: 3\r\n")),
    "silence": hangs,
    "a body by the drop": drips(good, 1000, 0.02, start=120),
    "headers by the drop": drips(good, 1000, 0.02),
    "interim responses only": says(lambda _: b"HTTP/1.1 100 Continue\r\n\r\n" * 3, keep=False),
    "an empty body": answers(lambda _: b""), "blanks for a body": answers(lambda _: b"  \n"),
    "a page": answers(lambda _: PAGE, "Content-Type: text/html\r\n"),
    "a list": answers(lambda _: [1]), "null": answers(lambda _: b"null"),
    "an error with status 200": answers(lambda _: {"error": {"message": "overloaded", "code": 503}}),
    "no choices": answers(lambda _: {"id": "x"}), "empty choices": answers(lambda _: {"choices": []}), "null for choices": answers(lambda _: {"choices": None}),
    "null content, not billed": answers(lambda _: reply("", usage=None, content=None)),
    "a number for content": answers(lambda _: reply("", usage=None, content=7)),
    "no message": answers(lambda _: {"choices": [{"finish_reason": "stop"}]}),
    "not HTTP": says(lambda _: b"SSH-2.0-OpenSSH_9.2\r\n", keep=False),
    "a status of four digits": says(lambda ask: http(plain(ask), 2000)),
    "status 204": says(lambda _: b"HTTP/1.1 204 X\r\n\r\n"),
    "a broken chunk": says(lambda ask: chunked(plain(ask)).replace(b"\r\n7\r\n", b"\r\nzz\r\n", 1), keep=False),
    "chunks without an end": says(lambda ask: chunked(plain(ask), end=b""), keep=False),
    "gzip": says(lambda ask: http(gzip.compress(plain(ask)), headers="Content-Encoding: gzip\r\n")),
    "gzip, not said": says(lambda ask: http(gzip.compress(plain(ask)))),
    "a compression that is none": says(lambda ask: http(plain(ask), headers="Content-Encoding: magic\r\n")),
    "bytes that are not UTF-8": answers(lambda grades: json.dumps(reply(grades)).encode().replace(b"judge", b"\xff\xfe")),
    "events": answers(lambda grades: b"data: " + json.dumps(reply(grades)).encode() + b"\n\ndata: [DONE]\n\n", "Content-Type: text/event-stream\r\n"),
    "a body of 17 MiB": says(lambda _: http(b" " * (17 << 20)), keep=False),
    "a body without end": never_ends,
    "100,000 brackets": answers(lambda _: b"[" * 100_000),
    "a header of 200 KB": answers(reply, f"X-Long: {'x' * 200_000}\r\n"),
    "a header that is none": says(lambda ask: http(plain(ask), headers="no colon here\r\n")),
    "a repeated body": says(lambda ask: http(reply(ask.grades)) + b"\r\n\r\n" + plain(ask)),
    "two bodies in one": answers(lambda grades: json.dumps(reply(grades)).encode() * 2),
}
EARLY = {
    "a date to come back at": says(lambda _: http({"error": {"message": "slow"}}, 429, f"Retry-After: {date(2)}\r\n")),
}
SOME = {
    "status 400": (errs(400, "this cannot be done"), "http 400"), "status 413": (errs(413, "too large"), "http 413"),
    "status 418": (errs(418), "http 418"), "status 422": (errs(422, "this cannot be done"), "http 422"), "status 451": (errs(451), "http 451"),
    "status 304": (says(lambda _: b"HTTP/1.1 304 X\r\n\r\n"), "http 304"),
    "a flagged row": (errs(403, "flagged"), "flagged"), "a filtered prompt": (errs(400, "filtered", code="content_filter"), "filtered"),
    "a row above the limit": (errs(429, "Limit 30000, Requested 40000"), "above the limit"),
    "status 500 for good": (errs(500, "bug"), "after 6 attempts"), "silence for good": (hangs, "after 6 attempts"),
    "a page for good": (answers(lambda _: PAGE), "Sign in"),
    "grades above the scale": (wrong(accuracy=9), "accuracy is 9, outside 1 to 5"), "grades below the scale": (wrong(accuracy=0), "outside"),
    "grades as words": (wrong(accuracy="4"), "accuracy is not a number"), "truth values": (wrong(accuracy=True), "is not a number"),
    "null for a grade": (wrong(accuracy=None), "is not a number"), "a list for a grade": (wrong(accuracy=[3]), "is not a number"),
    "NaN": (wrong(accuracy=float("nan")), "accuracy is nan"), "infinity": (wrong(accuracy=float("inf")), "accuracy is inf"),
    "an immense grade": (answers(lambda grades: reply(json.dumps(grades)[:-1] + ', "accuracy": ' + "9" * 5000 + "}")), "no JSON object"),
    "a grade too few": (wrong(accuracy=...), "no score for accuracy"), "no grades": (answers(lambda _: reply({})), "no score for"),
    "a grade twice": (answers(lambda grades: reply('{"accuracy": 1, ' + json.dumps(grades)[1:])), "no JSON object"),
    "grades one level down": (answers(lambda grades: reply({"scores": grades})), "no score for"),
    "grades as a list": (answers(lambda grades: reply(list(grades.values()))), "no JSON object"),
    "grades in prose": (answers(lambda grades: reply(f"I would say {json.dumps(grades)}.")), "no JSON object"),
    "grades twice": (answers(lambda grades: reply(json.dumps(grades) * 2)), "no JSON object"),
    "half the grades": (answers(lambda grades: reply(json.dumps(grades)[:20], finish="length")), "raise max_tokens"),
    "a filtered reply": (answers(lambda _: reply("", content=None, finish="content_filter")), "content_filter"),
    "a refusal": (answers(lambda _: reply("", content=None, refusal="I cannot.")), "declined"),
    "reasoning only": (answers(lambda _: reply("", content=None, reasoning="Hm.")), "turn thinking off"),
    "an empty reply": (answers(lambda _: reply("")), "the reply is empty"),
    "another tool call": (answers(lambda _: reply("", **CALL)), "no score for"),
    "half a surrogate pair": (answers(lambda grades: reply("\ud83d" + json.dumps(grades))), "no JSON object"),
    "terminal codes": (answers(lambda _: reply("\x1b[2J\x1b]0;owned\x07 no")), "no JSON object"),
}
STOPPING: dict[str, tuple[Behave, tuple[str, ...]]] = {
    "a wrong key": (says(lambda ask: http({"error": {"message": f"Incorrect API key provided: {ask.key}"}}, 401)), ("http 401", "check the key in OPENAI_API_KEY")),
    "no money": (errs(402, "Insufficient Balance"), ("http 402", "no money left")),
    "no quota": (errs(429, "You exceeded your current quota", code="insufficient_quota"), ("no money left",)),
    "no rights": (errs(403, "not for you"), ("http 403", "check the key", "5 requests in a row")),
    "an unknown model": (errs(404, "no such model"), ("http 404", "check model='judge'")),
    "a limit of a day": (limit("99999"), ("27.8 h", "Start again")), "a limit of a year": (limit("9" * 400), ("Start again",)),
    "a date next week": (says(lambda _: http({"error": {"message": "slow"}}, 429, f"Retry-After: {date(7 * 86400)}\r\n")), ("168.0 h", "Start again")),
    "an endless time": (errs(429, headers="Retry-After-Ms: inf\r\n"), ("Start again",)),
    "another model midway": (answers(lambda grades: reply(grades, model="other")), ("more than one model", "mixed_models=true")),
    "the key in a reply": (says(lambda ask: http(reply(f"The key is {ask.key}"))), ("contains the API key",)),
    "moved, 301": (moved(301), ("http 301", "redirected to http://127.0.0.1:", "base_url=")), "moved, 302": (moved(302), ("http 302",)), "moved, 307": (moved(307), ("http 307",)), "moved, 308": (moved(308), ("http 308",)),
    "a page from now on": (answers(lambda _: PAGE), ("Sign in",)), "500 from now on": (errs(500), ("http 500", "Check that")),
    "closed from now on": (says(lambda _: b"", keep=False), ("Check that",)), "silence from now on": (hangs, ("Check that",)),
    "prose from now on": (answers(lambda _: reply("Quite good.")), ("could not be scored", "max_unscored")),
    "the key in an error": (says(lambda ask: http({"error": {"message": f"Bearer {ask.key}"}}, 500, f"X-Key: {ask.key}\r\n")), ("http 500",)),
}


def _slug(text: str) -> str:
    return "".join(sign if sign.isalnum() else "-" for sign in text.lower())


def _cases() -> dict[str, Case]:
    found = [Case(_slug(name), "always", "scored", behave) for name, behave in TOLERATED.items()]
    found += [Case("then-well-" + _slug(name), "passing", "scored", behave) for name, behave in PASSING.items()]
    found += [Case("early-" + _slug(name), "early", "scored", behave) for name, behave in EARLY.items()]
    found += [Case("some-" + _slug(name), "some", "missing", behave, (text,)) for name, (behave, text) in SOME.items()]
    found += [Case("later-" + _slug(name), "later", "refused", behave, texts) for name, (behave, texts) in STOPPING.items()]
    return {case.name: case for case in found}


CASES = _cases()
SLOW = ("silence", "by-the-drop", "length-too-large", "come-back-at", "17-mib", "without-end")  # cases that pass in waiting
