"""Store keys follow the code: an edit to what makes an output changes its key, and nothing else's; comments never do."""

import io
import shutil
from pathlib import Path

import pytest

from gip_exp import pipeline
from gip_exp.cli.run import show
from gip_exp.console import Console
from gip_exp.storage import code_digest
from gip_exp.storage.code_digest import code_of

ROOT = Path(__file__).resolve().parent.parent
STAGES = {
    "random": "baselines.random:select",
    "k_center": "baselines.k_center:select",
    "gip": "selection.select:gip_select",
    "rules": "gip_exp.signals.rules:score",
    "train": "gip_exp.stages.train:_build",
    "evaluate": "gip_exp.evaluation.tasks:gsm8k",
    "data": "gip_exp.stages.data:_build",
}


def forget():
    for name in ("_code_of", "_parsed", "_source", "_used_by", "_dumped"):
        getattr(code_digest, name).cache_clear()


@pytest.fixture
def edit(tmp_path, monkeypatch):
    """A copy of the sources, digested in place of the real ones: edit(file, old, new)."""
    for package in code_digest.OWN:
        shutil.copytree(
            ROOT / package, tmp_path / "src" / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    monkeypatch.setattr(code_digest, "_root", lambda _: tmp_path / "src")
    forget()

    def change(file: str, old: str, new: str) -> None:
        path = tmp_path / "src" / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) >= 1, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        forget()

    yield change
    monkeypatch.undo()
    forget()


def digests() -> dict[str, dict[str, str]]:
    return {name: code_of(place) for name, place in STAGES.items()}


def changed(before: dict[str, dict[str, str]]) -> set[str]:
    return {name for name, found in digests().items() if found != before[name]}


@pytest.mark.parametrize(
    ("file", "old", "new", "whose"),
    [
        ("baselines/random.py", "problems = Problems()", "problems = Problems(); n = n + 0", {"random"}),
        (
            "baselines/_checks.py",
            "if count > len(rows):",
            "if count >= len(rows) + 1:",
            {"random", "k_center"},
        ),
        ("selection/plain.py", "    return ", "    0\n    return ", {"gip"}),
        ("gip_exp/training/finetune.py", "    return ", "    0\n    return ", {"train"}),
        ("eval/gsm8k.py", "    return _result(", "    0\n    return _result(", {"evaluate"}),
    ],
)
def test_an_edit_changes_the_digest_of_what_uses_it_and_of_nothing_else(edit, file, old, new, whose):
    before = digests()
    edit(file, old, new)
    assert changed(before) == whose


def test_comments_layout_docstrings_and_annotations_do_not_count(edit):
    before = digests()
    edit(
        "baselines/random.py",
        "    problems = Problems()\n",
        "    # a thought\n\n    problems = (Problems())\n",
    )
    edit("baselines/random.py", '"""', '"""In other words: ')
    edit("baselines/random.py", ") -> Selection:", ') -> "Selection":')
    assert changed(before) == set()


def test_settings_messages_and_what_only_carries_outputs_do_not_count(edit):
    before = digests()
    edit("gip_exp/console.py", "import ", "import this\nimport ")
    edit("gip_exp/storage/store.py", "import ", "import this\nimport ")
    edit("gip_exp/config/train.py", "import ", "import this\nimport ")
    assert changed(before) == set()


def test_every_file_of_a_digest_is_a_source_file_of_the_project():
    for files in digests().values():
        assert files
        assert all((ROOT / file).is_file() for file in files)


def test_a_function_is_followed_into_lazy_imports_and_through_module_attributes():
    assert "selection/fast/dual.py" in code_of("selection.select:gip_select")  # imported inside functions
    assert "gip_exp/models/loading.py" in code_of(
        "gip_exp.stages.train:_build"
    )  # loading.load_tokenizer(...)
    assert "baselines/dsir.py" not in code_of(
        "gip_exp.stages.rank:_build"
    )  # looked up by name: the stage adds it


def test_an_edited_method_is_run_again_and_named_and_a_comment_reuses_everything(edit, micro, tmp_path):
    shown = io.StringIO()
    console = Console(shown)
    config = micro(tmp_path / "outputs", "selector=random", "until=select")
    pipeline.run(config, console)
    edit(
        "baselines/random.py", "    problems = Problems()\n", "    # nothing new\n    problems = Problems()\n"
    )
    again = pipeline.run(config, console)
    assert all(stage["cached"] for stage in again.result["stages"].values())

    edit("baselines/random.py", "(seed).permutation(n)", "(seed).permutation(n)[::-1]")
    edited = pipeline.run(config, console)
    stages = edited.result["stages"]
    assert stages["data"]["cached"]
    assert stages["rank"]["changed_code"] == ["baselines/random.py"]
    assert edited.folder != again.folder  # another method is another run
    show(edited.result, console)
    assert "rank was made again because its code changed: baselines/random.py" in " ".join(
        shown.getvalue().split()
    )
