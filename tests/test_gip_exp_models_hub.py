"""A hub that is down is known in seconds, whatever its way of being down."""

import http.server
import socket
import threading
import time

import pytest

from gip_exp.config.data import Hub
from gip_exp.data import load
from gip_exp.errors import UserError
from gip_exp.models import hub


@pytest.fixture(autouse=True)
def fresh():
    hub.no_answer.cache_clear()
    yield
    hub.no_answer.cache_clear()


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.mark.parametrize(
    ("status", "why"), [(200, ""), (404, ""), (501, ""), (500, "status 500"), (503, "status 503")]
)
def test_a_server_that_answers_is_at_work_unless_it_says_otherwise(server, monkeypatch, status, why):
    monkeypatch.setattr(Handler, "status", status)
    said = hub.no_answer(server)
    assert why in said
    assert bool(said) == bool(why)


def test_a_server_that_accepts_and_never_answers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(hub, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert hub.no_answer(f"http://127.0.0.1:{silent.getsockname()[1]}") == "no answer within 0.2 s"
        assert time.monotonic() - start < 2


def test_where_nobody_listens_is_no_hub():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert "ConnectError" in hub.no_answer(f"http://127.0.0.1:{closed.getsockname()[1]}")


def test_a_server_on_this_machine_is_asked_without_the_proxy(server, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert hub.no_answer(server) == ""


def test_a_host_behind_a_proxy_is_asked_through_it(server, monkeypatch):
    for name in ("HTTP_PROXY", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", server)
    assert hub.no_answer("http://behind-a-proxy.invalid") == ""
    monkeypatch.setenv("no_proxy", "direct.invalid")
    assert "ConnectError" in hub.no_answer("http://direct.invalid")


def test_what_is_missing_says_why_and_what_to_do(monkeypatch):
    monkeypatch.setattr(hub, "unreachable", lambda: "no answer within 3 s")
    (data,) = hub.missing_dataset("someone/never-cached")
    assert "the data set someone/never-cached is not in the local cache, and" in data
    assert "(no answer within 3 s): give local files (data.path=FILE_OR_FOLDER), or go online" in data
    (model,) = hub.missing_model("someone/never-cached", None, "embedder.model")
    assert "give its folder (embedder.model=DIR)" in model


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """A data set in the cache of `datasets` as of a commit, which the branch `fixed` names; the hub is out of reach."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    folder = tmp_path / "datasets" / "own___rows" / "default" / "0.0.0" / COMMIT
    folder.mkdir(parents=True)
    table = datasets.Dataset.from_list([{"prompt": "1 + 1 =", "completion": "2"}])
    with ArrowWriter(features=table.features, path=str(folder / "rows-train.arrow")) as writer:
        writer.write(table[0])
        n, size = writer.finalize()
    split = datasets.SplitInfo("train", num_bytes=size, num_examples=n, dataset_name="rows")
    told = {"builder_name": "parquet", "dataset_name": "rows", "config_name": "default", "version": "0.0.0"}
    splits = datasets.SplitDict({"train": split}, dataset_name="rows")
    datasets.DatasetInfo(features=table.features, splits=splits, **told).write_to_directory(str(folder))
    refs = tmp_path / "hub" / "datasets--own--rows" / "refs"
    refs.mkdir(parents=True)
    (refs / "fixed").write_text(COMMIT)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize("revision", [None, COMMIT, "fixed"])
def test_without_a_hub_the_cached_revision_is_read(cached, revision):
    (row,) = load._from_hub(Hub(name="own/rows", revision=revision), "train")
    assert row.row == {"prompt": "1 + 1 =", "completion": "2"}


@pytest.mark.parametrize("revision", ["f" * 40, "other"])
def test_without_a_hub_no_other_revision_is_read_than_the_one_asked_for(cached, revision):
    """`datasets` would read the newest in its cache, with no more than a warning."""
    with pytest.raises(
        UserError, match=rf"holds revision {COMMIT} instead of data\.hub\.revision={revision}: "
    ):
        load._from_hub(Hub(name="own/rows", revision=revision), "train")
