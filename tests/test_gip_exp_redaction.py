"""No key in a log, a config dump, W&B's files, the cache, the store or a traceback; a config that holds one is refused."""

import os
import subprocess
import sys

import pytest
from conftest import MICRO, ROOT

from gip_exp.config import parse
from gip_exp.errors import UserError
from gip_exp.llm.errors import LLMError
from gip_exp.llm.settings import EndpointSettings
from gip_exp.redaction import HIDDEN, holds_secret, is_secret_name, redact, secret_arguments
from tests.fault_server import FaultServer

KEY = "sk-proj-Zq7Topsecret0123456789"
PLAIN = "plain-key-without-a-shape-42"


def run(*arguments, key, cwd):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "OPENAI"))
    }
    environment |= {"OPENAI_API_KEY": key, "OPENAI_LOG": "debug", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gip_exp", *arguments, *MICRO, f"paths.root={cwd}/out"]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, timeout=300)


def written(folder):
    """Every byte below a folder, file names included."""
    return b"\n".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")
    )


@pytest.mark.parametrize("key", [KEY, PLAIN])
def test_a_judged_and_tracked_run_leaves_the_key_nowhere(tmp_path, key):
    judged = ["judge=openai", "judge.model=judge", "judge.timeout_s=5", "data.n=60", "until=select"]
    tracked = ["tracking=wandb", "tracking.mode=offline", "tracking.project=p"]
    with FaultServer(
        fault_share=0.1, hang_s=1, names=("accuracy", "reasoning", "clarity", "helpfulness", "difficulty")
    ) as server:
        done = run(*judged, *tracked, f"judge.base_url={server.url}", key=key, cwd=tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        assert server.account()["headers"][0]["authorization"] == f"Bearer {key}"  # it was used ...
    files = written(tmp_path)
    for part in (
        b"offline-run-",
        b".wandb",
        b"config.yaml",
        b"log.txt",
        b"replies-",
        b"manifest.json",
        b"transcript.md",
    ):
        assert part in files
    assert key.encode() not in files + done.stdout + done.stderr  # ... and is nowhere


@pytest.mark.parametrize("status", [401, 400, 500])
def test_an_endpoint_that_echoes_the_key_makes_no_log_hold_it(tmp_path, status):
    message = f"Incorrect API key provided: {PLAIN}, Authorization: Bearer {PLAIN}"
    with FaultServer(status=status, message=message) as server:
        judged = ["judge=openai", "judge.model=judge", f"judge.base_url={server.url}", "judge.max_unscored=0"]
        tracked = ["tracking=wandb", "tracking.mode=offline", "tracking.project=p"]
        done = run(*judged, *tracked, "data.n=40", "until=select", key=PLAIN, cwd=tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert HIDDEN.encode() in done.stderr
    assert b'"status": "failed"' in written(tmp_path)
    assert PLAIN.encode() not in written(tmp_path) + done.stdout + done.stderr


@pytest.mark.parametrize(
    "argument",
    [
        f"+judge.extra_body.api_key={PLAIN}",
        f"+judge.extra_body.headers.Authorization={PLAIN}",
        f"+judge.extra_body.note={KEY}",
        f"judge.extra_body={{api_key: {PLAIN}}}",
        f"+judge.extra_headers={{Authorization: 'Bearer {KEY}'}}",
        f"judge.base_url=http://user:{PLAIN}@127.0.0.1:9/v1",
        f"judge.base_url=http://127.0.0.1:9/v1/{KEY}",
        f"engine.server_args=[--api-key,{PLAIN}]",
        f"engine.server_args=['--api-key={PLAIN}']",
        f"judge.server_args=[--hf-token,{PLAIN}]",
        f"+judge.api_key={PLAIN}",
        f"judge.model={KEY}",
        f"judge.extra_body=[{KEY}",  # not even Hydra's grammar
    ],
)
@pytest.mark.parametrize("sweep", [[], ["-m", "seed=0,1"]], ids=["run", "sweep"])
def test_a_command_that_holds_a_key_is_refused_before_anything_is_written(tmp_path, argument, sweep):
    done = run(*sweep, "judge=openai", argument, key="environment-key-7654321", cwd=tmp_path)
    assert done.returncode == 2
    assert b"holds what looks like a secret; keys come from the environment only" in done.stderr
    assert b"Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
    for secret in (KEY, PLAIN):
        assert secret.encode() not in done.stdout + done.stderr


def test_a_config_file_that_holds_a_key_is_refused_by_its_place_alone(compose):
    values = compose("+experiment=quickstart", "judge=openai")
    values["judge"]["extra_body"] = {"user": {"auth_token": PLAIN}}
    values["engine"]["server_args"] = ["--api-key", PLAIN]
    with pytest.raises(UserError) as caught:
        parse(values)
    assert str(caught.value).startswith("judge.extra_body.user.auth_token, engine.server_args[0]: holds what")
    assert PLAIN not in str(caught.value)


def test_a_secret_of_the_environment_is_known_without_a_shape(compose, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_API_KEY", PLAIN)
    with pytest.raises(UserError, match=r"tracking.project: holds what looks like a secret"):
        parse(compose("+experiment=quickstart", "tracking=wandb", f"tracking.project=x-{PLAIN}"))


@pytest.mark.parametrize(
    "text",
    ["tokens=5", "judge.max_tokens=512", "data.path=/data/sk-learn-examples", "model.scratch.tokenizer=word",
     "judge.extra_body={chat_template_kwargs: {enable_thinking: false}}", "judge.extra_body={stop_token_ids: [1]}",
     "engine.server_args=[--enforce-eager,--max-num-seqs,8]", "judge.base_url=http://127.0.0.1:8000/v1", "-m",
     "judge.model=xai-grok-4-fast-reasoning-2026", "model.path=AIzawa/basic-arithmetic-model-12345678"],
)  # fmt: skip
def test_ordinary_arguments_are_no_secrets(text, monkeypatch):
    for name in list(os.environ):
        if name.endswith(("KEY", "TOKEN", "SECRET", "PASSWORD")):
            monkeypatch.delenv(name)
    assert secret_arguments([text]) == []
    assert not holds_secret(text)


@pytest.mark.parametrize(
    "key",
    ["gsk_" + "a1" * 26, "xai-" + "b2" * 40, "nvapi-" + "c-3_" * 16, "AIza" + "d4" * 18, "ghp_" + "e5" * 18,
     "github_pat_" + "f6" * 30, "glpat-" + "g7" * 10, "wandb_v1_" + "h8" * 20, "AKIA" + "I9" * 8,
     "Authorization: Basic dXNlcjpwYXNz42==", "hf_" + "j1" * 17],
)  # fmt: skip
def test_keys_of_other_services_are_known_by_their_shape(key):
    assert holds_secret(f"x {key} y")
    assert redact(f"x {key} y") == f"x {HIDDEN} y"


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "DB_PASSWORD", "GITHUB_TOKEN", "X_PRIVATE_KEY"]
)
def test_names_of_variables_tell_secrets(name):
    assert is_secret_name(name)
    assert not any(
        map(
            is_secret_name,
            ("HOME", "KEYBOARD", "MAX_TOKENS_PER_CALL", "TOKENIZERS_PARALLELISM", "SSH_AUTH_SOCK"),
        )
    )


def test_the_client_itself_refuses_a_key_in_the_body():
    with pytest.raises(
        LLMError, match=r"extra_body.api_key holds what looks like a secret; put the key into OPENAI"
    ) as caught:
        EndpointSettings("m", base_url="http://127.0.0.1:1", extra_body={"api_key": PLAIN}).check()
    assert PLAIN not in str(caught.value)
