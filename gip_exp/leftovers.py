"""A command that was refused leaves nothing: locks and folders that it made for outputs that never came go again."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from gip_exp.errors import UserError
from gip_exp.storage.locks import kernel_lock


@contextmanager
def no_empty_shelf(root: Path, group: str) -> Iterator[None]:
    """When the block ends in a UserError, take away the locks of `group` that guard nothing, and folders left empty."""
    try:
        yield
    except UserError:
        folder = root / "store" / group
        with suppress(OSError):
            for lock in folder.glob("*.lock"):
                _unlink_unused(lock)
        _remove_empty(folder, folder.parent, root)
        raise


class NoteSweep(Callback):
    """Hydra tells where it will write a sweep's list of runs (`hydra.callbacks` in conf/config.yaml)."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _sweeps.append((Path(str(config.hydra.sweep.dir)), Path(str(config.paths.root))))


_sweeps: list[tuple[Path, Path]] = []  # (folder of this process's sweep, paths.root)


def forget_sweep() -> None:
    """Take away the list of runs of this process's sweep where no run came so far as to leave anything."""
    for folder, root in _sweeps:
        if not (root / "runs").exists() and not (root / "store").exists():
            with suppress(OSError):
                (folder / "multirun.yaml").unlink()
            _remove_empty(folder, folder.parent, root)


def _unlink_unused(lock: Path) -> None:
    """Unlink a lock without an output, while holding it: whoever waits for it notices and takes a new one."""
    if lock.with_suffix("").exists() or lock.with_suffix(".partial").exists():
        return
    try:
        with kernel_lock(lock).acquire(timeout=0):
            lock.unlink()
    except (Timeout, OSError):
        pass  # somebody is about to make that output


def _remove_empty(*folders: Path) -> None:
    """Innermost first; one that holds anything stays, and those around it."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()
