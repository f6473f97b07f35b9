"""Shared fixtures: real data by path, composed configs, and the quickstart shrunk to seconds by config alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models: threads cost more than they give
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test never needs a hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HYDRA_FULL_ERROR", "1")

ROOT = Path(__file__).resolve().parent.parent

MICRO = [
    "+experiment=quickstart",
    "data.n=240",
    "data.n_test=16",
    "model.scratch.documents=1500",
    "model.scratch.steps=12",
    "model.scratch.layers=2",
    "model.scratch.hidden=64",
    "model.scratch.batch=8",
    "train.steps=4",
    "evaluation.gsm8k.max_new_tokens=10",
]


# Files that take minutes go first: two processes that share the files (pytest -n 2) then end at about the same time.
LONG = [
    "test_slurm.py",
    "test_gip_exp_evaluation_served.py",
    "test_gip_exp_training_finetune.py",
    "test_gip_exp_llm_server.py",
    "test_gip_exp_evaluation_tasks.py",
    "test_gip_exp_real_model.py",
    "test_gip_exp_main.py",
    "test_gip_exp_pipeline.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first, everything else in its usual order."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONG)))


def unavailable(what: str, why: str) -> None:
    """Skip with a reason, or fail where GIP_REQUIRE (as in CI) says that `what` must be there."""
    if what in os.environ.get("GIP_REQUIRE", "").split(","):
        pytest.fail(f"{why} (GIP_REQUIRE names {what})")
    pytest.skip(why)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data: GIP_DATA, by default ../shared/data beside the checkout."""
    folder = Path(os.environ.get("GIP_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        unavailable("data", f"no data folder at {folder} (set GIP_DATA)")
    return folder


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real SLURM on this machine with two slots; the variables under which its commands find it."""
    import slurm_cluster

    if problem := slurm_cluster.missing():
        unavailable("slurm", problem)
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm"), cpus=2) as environment:
        yield environment


@pytest.fixture(scope="session")
def compose() -> Callable[..., dict[str, Any]]:
    """Compose a config as the command line would, as plain values."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    def composed(*overrides: str) -> dict[str, Any]:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return OmegaConf.to_container(hydra_compose("config", list(overrides)), resolve=True)

    return composed


@pytest.fixture(scope="session")
def micro(compose: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
    """A parsed config of the shrunken quickstart: micro(root, "key=value", ...)."""
    from gip_exp.config import parse

    def parsed(root: Path, *overrides: str) -> Any:
        return parse(compose(*MICRO, f"paths.root={root}", *overrides))

    return parsed


@pytest.fixture(scope="session")
def shared_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for the tests that only read what the shrunken quickstart made."""
    return tmp_path_factory.mktemp("outputs")
