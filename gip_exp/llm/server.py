"""A vLLM server owned by this process: started, monitored, its failures explained, and ended with the process.

    with VLLMServer(ServerSettings(model="DIR", adapters={"run1": "ADAPTER_DIR"}), log_path) as server:
        EndpointSettings(
            model="run1",
            base_url=server.base_url,
            api_key_env=server.key_variable,
            identity=server.identity("run1"),
        )

One server serves the model (as `served_name`) and every adapter by name: those it is started with and, up to rank
`max_lora_rank`, those that are loaded later (`load_adapter`). It listens on 127.0.0.1 only and requires a key that
only this process knows.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from gip_exp.llm import loopback, server_log, supervise
from gip_exp.llm.adapters import fingerprint, rank_to_serve
from gip_exp.llm.errors import ServerError, shorten
from gip_exp.llm.settings import raise_problems
from gip_exp.redaction import is_secret_name

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
_HUB_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class ServerSettings:
    """What to serve.

    Attributes:
        model: folder or hub name.
        adapters: LoRA folders by the name they are served under.
        max_lora_rank: maximum rank of adapters that are loaded later (None: there will be none).
        served_name: name of the model itself.
        dtype: as for vLLM.
        max_model_len: in tokens; None for the model's own.
        enforce_eager: as for vLLM.
        seed: as for vLLM.
        port: None picks a free one.
        start_timeout_s: time the server may take to answer.
        extra_args: further options of vLLM.
        environment: further environment variables.
        python: interpreter with vLLM installed (None: this one).
    """

    model: str
    adapters: Mapping[str, str] = field(default_factory=dict)
    max_lora_rank: int | None = None
    served_name: str = "base"
    dtype: str = "bfloat16"
    max_model_len: int | None = None
    enforce_eager: bool = False
    seed: int = 0
    port: int | None = None
    start_timeout_s: float = 900.0
    extra_args: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None

    def check(self) -> None:
        """Raise one LLMError that lists every problem with these settings."""
        names = [self.served_name, *self.adapters]
        bad = [n for n in names if not _NAME.match(n)]
        found = [f"{n!r} cannot be served as a name; use letters, digits, . _ -" for n in bad]
        if self.served_name in self.adapters:
            found.append(f"an adapter has the model's own served_name {self.served_name!r}")
        found += [f"adapter {n!r}: {p} has no adapter_config.json" for n, p in self.adapters.items()
                  if not (Path(p) / "adapter_config.json").is_file()]  # fmt: skip
        if any(text.split("=")[0] == "--lora-target-modules" for text in self.extra_args):
            found.append(
                "server_args has --lora-target-modules, with which vLLM leaves out parts of adapters; remove it"
            )
        if not self.start_timeout_s > 0:
            found.append(f"start_timeout_s is {self.start_timeout_s}; allowed: above 0")
        raise_problems("vLLM server", found)


class VLLMServer:
    """A running server, as a context manager.

    Args:
        settings: what to serve.
        log_path: where its log is written.

    `key_variable` is the environment variable that holds its key.
    """

    key_variable = loopback.KEY_VARIABLE

    def __init__(self, settings: ServerSettings, log_path: Path) -> None:
        settings.check()
        self.settings, self.log_path = settings, Path(log_path)
        self.port = 0
        self._adapters = dict(settings.adapters)
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._log_start = 0  # an earlier server may have written to the same log

    @property
    def base_url(self) -> str:
        """Base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def names(self) -> tuple[str, ...]:
        """Served names: that of the model, then those of the adapters."""
        return (self.settings.served_name, *self._adapters)

    def identity(self, name: str) -> str:
        """Return a text that identifies the weights served under `name` (for the key of the reply cache)."""
        if name not in self.names:
            raise ServerError(f"the server serves {', '.join(self.names)}, not {name!r}.")
        parts = [fingerprint(self.settings.model), self.settings.dtype]
        if name in self._adapters:
            parts.append(fingerprint(self._adapters[name]))
        return "-".join(parts)

    def load_adapter(self, name: str, path: str) -> None:
        """Serve another LoRA folder under `name`; ServerError if vLLM refuses it."""
        if self._adapters.get(name) == path:
            return
        try:
            loopback.post(
                f"{self.base_url}/load_lora_adapter", {"lora_name": name, "lora_path": path}, json_reply=False
            )
        except (OSError, ValueError) as error:
            self.check_alive()
            raise ServerError(
                f"vLLM does not load the adapter {name} ({path}): {error}. Check that it belongs to {self.settings.model}."
            ) from None
        self._adapters[name] = path

    def continuation(
        self, name: str, text: str, *, tokens: int = 4, among: int = 20
    ) -> list[dict[str, float]]:
        """Return the greedy continuation of `text` by `name`: likely tokens and log-probabilities at each position."""
        asked = {"model": name, "prompt": text, "max_tokens": tokens, "temperature": 0, "logprobs": among}
        return loopback.post(f"{self.base_url}/completions", asked)["choices"][0]["logprobs"]["top_logprobs"]

    def __enter__(self) -> VLLMServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it answers; ServerError with the end of its log otherwise."""
        self.port = self.settings.port or loopback.free_port()
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._log = open(self.log_path, "ab")  # noqa: SIM115 - closed by stop()
        self._log_start = self._log.tell()
        supervisor = [sys.executable, "-P", supervise.__file__, str(os.getpid()), "--"]
        atexit.register(self.stop)
        self._process = subprocess.Popen(
            [*supervisor, *command(self.settings, self.port)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=_environment(self.settings),
            start_new_session=True,  # Ctrl-C reaches only the owner, which then ends the server
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server (the process this object started) and wait for it. May be called twice."""
        atexit.unregister(self.stop)
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def check_alive(self) -> None:
        """Raise ServerError with the end of the log if the server has died."""
        if self._process is None:
            raise ServerError("the vLLM server is not running; start it first.")
        status = self._process.poll()
        if status is not None:
            raise ServerError(self._explain(server_log.ended(status)))

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """If the server has died, replace an error raised inside by one with the end of the log."""
        try:
            yield
        except Exception as error:  # each client has its own errors
            time.sleep(4 * supervise.POLL_S)  # until the supervisor has noticed a death
            try:
                self.check_alive()
            except ServerError as death:
                raise ServerError(f"{death}\nWhat failed by it: {shorten(str(error))}") from error
            raise

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + self.settings.start_timeout_s
        while time.monotonic() < end:
            self.check_alive()
            # Checked before anything is sent: another process on this port must not get the key or our texts.
            served = loopback.served_names(self.base_url) if loopback.is_ours(self.port) else None
            if served is not None:
                missing = [name for name in self.names if name not in served]
                if missing:
                    raise ServerError(self._explain(f"answers but does not serve {', '.join(missing)}"))
                return
            time.sleep(0.25)
        raise ServerError(self._explain(f"did not answer within {self.settings.start_timeout_s:g} s"))

    def _explain(self, what: str) -> str:
        if self._log is not None:
            self._log.flush()
        return server_log.explained(what, self.log_path, self._log_start)


def command(settings: ServerSettings, port: int) -> list[str]:
    """Return the command that starts vLLM, by module name, which works with every distribution of it."""
    words = [settings.python or sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    words += ["--model", settings.model, "--served-model-name", settings.served_name]
    words += ["--dtype", settings.dtype, "--host", "127.0.0.1", "--port", str(port)]
    words += ["--seed", str(settings.seed)]
    # A model's own sampling defaults (top_k, repetition_penalty, ...) would make greedy another thing than elsewhere.
    words += ["--generation-config", "vllm"]
    # Without this a weak model can fill its whole reply with white space between two JSON tokens.
    compact = {"backend": "xgrammar", "disable_any_whitespace": True}
    words += ["--structured-outputs-config", json.dumps(compact)]
    if settings.max_model_len is not None:
        words += ["--max-model-len", str(settings.max_model_len)]
    if settings.enforce_eager:
        words.append("--enforce-eager")
    if settings.adapters or settings.max_lora_rank:
        rank = max(settings.max_lora_rank or 0, rank_to_serve(settings.adapters))
        words += ["--enable-lora", "--max-lora-rank", str(rank)]
    if settings.adapters:
        words += ["--lora-modules", *(f"{name}={path}" for name, path in settings.adapters.items())]
    return words + list(settings.extra_args)


def _environment(settings: ServerSettings) -> dict[str, str]:
    """Return this process's variables without keys, except that of the hub: a server does not need the others."""
    kept = {k: v for k, v in os.environ.items() if k in _HUB_TOKENS or not is_secret_name(k)}
    ours = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_API_KEY": loopback.key()}
    ours["PYTHONSAFEPATH"] = "1"  # vLLM and its workers import nothing from the current folder
    if settings.max_lora_rank:
        ours["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"  # safe, because only this process has the key
    return kept | ours | dict(settings.environment)
