"""The package as people install it: a wheel without the checkout, used from a folder with files of the same names."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import MICRO, ROOT

PARTS = (
    "gip_exp",
    "selection",
    "baselines",
    "eval",
    "conf",
    "slurm",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
THEIRS = ("eval.py", "conf.py", "selection/__init__.py", "baselines/__init__.py", "datasets.py")
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built from a copy of the sources and unpacked into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    done = subprocess.run(
        [*pip, "--no-compile", "--target", target, source], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return target


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A user's folder whose modules have our names, and those of what we import, and must not be imported."""
    folder = tmp_path_factory.mktemp("hostile")
    for name in THEIRS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"raise RuntimeError('imported {name} of the user')\n")
    return folder


@pytest.fixture(scope="module")
def run(installed, hostile):
    """Run a command in the hostile folder: `gip-exp ...` or `python -m gip_exp... ...`; its output."""

    def runs(*command: object, path: Path = installed, code: int = 0) -> str:
        words = [str(word) for word in command]
        script = [sys.executable, str(installed / "bin" / "gip-exp")]
        start = script if words[0] == "gip-exp" else [sys.executable, "-m", words[0]]
        env = {name: text for name, text in os.environ.items() if not name.startswith(("HYDRA", "PYTHON"))}
        env |= {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [*start, *words[1:]], cwd=hostile, env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    return runs


@pytest.fixture(scope="module")
def outputs(run, tmp_path_factory):
    """What `gip-exp` selected in the hostile folder."""
    root = tmp_path_factory.mktemp("out")
    said = run("gip-exp", "select", *MICRO, f"paths.root={root}")
    assert "examples by mp_ma" in said
    return root


def files(root: Path) -> set[Path]:
    """What the six folders hold, apart from pages and compiled files."""
    every = (path for folder in PARTS[:6] for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root) for path in every if path.suffix not in {".md", ".pyc"}}


def test_the_wheel_holds_every_file_of_the_six_folders(installed):
    assert files(installed) == files(ROOT)
    assert all(
        (installed / f"{name}/py.typed").is_file() for name in ("gip_exp", "selection", "baselines", "eval")
    )
    assert (installed / "slurm" / "README.md").is_file()  # messages name it
    assert not (installed / "tests").exists()


@pytest.mark.parametrize("command", ["gip-exp", "gip_exp"])
def test_the_version_is_the_packages(run, command):
    assert run(command, "--version").strip() == f"gip-exp {VERSION}"


def test_a_run_in_a_folder_with_modules_of_our_names(outputs):
    assert len(list(outputs.glob("runs/quickstart/*/selected.jsonl"))) == 1


def test_a_sweep_from_a_checkout_on_the_path(run, tmp_path):
    run("gip_exp", "-m", *MICRO, "until=data", "seed=0,1", f"paths.root={tmp_path}", path=ROOT)
    assert len(list(tmp_path.glob("store/data/*/pool.arrow"))) == 2


def test_the_other_commands(run, outputs, tmp_path):
    own = tmp_path / "mine" / "selector"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text((ROOT / "conf" / "selector" / "random.yaml").read_text())
    planned = run(
        *("gip_exp.plan", "--config-dir", own.parent, *MICRO, "selector=mine,mp_ma", "until=select"),
        *(f"paths.root={outputs}", "--write", tmp_path / "plan"),
    )
    assert "2 runs, 1 with all stages cached" in planned
    assert "missing" in run("gip-exp", "status", tmp_path / "plan")
    assert "holds no plan" in run("gip-exp", "submit", tmp_path, code=2)
    assert "1 run reported" in run("gip_exp.report", outputs)
    assert "ablation:" in run("gip_exp.ablations", "ridge", "--cfg")


def test_a_script_of_the_user_and_processes_that_it_spawns(run, hostile, installed):
    """As in a notebook: the current folder stays first on the path, for whatever the user imports from it."""
    (hostile / "their_script.py").write_text(
        "import gip_exp, inspect, multiprocessing\n"
        "from selection import gip_select\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(inspect.getsourcefile, (gip_select,)))\n"
    )
    assert run("their_script").strip() == str(installed / "selection" / "select.py")
