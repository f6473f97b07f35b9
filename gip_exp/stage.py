"""The definition of a stage: its name, inputs, settings and build function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.console import Console
from gip_exp.storage.code_digest import Root, code_of
from gip_exp.storage.store import Draft, Entry

Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class Job:
    """The arguments of a stage's build function: config, input entries, output draft, console."""

    config: Config
    inputs: Entries
    draft: Draft
    console: Console
    log: Callable[[dict[str, float]], None] = field(default=lambda _: None)  # live metrics, for tracking

    @property
    def folder(self) -> Path:
        """Folder of the output."""
        return self.draft.folder

    def note(self, text: str) -> None:
        """Warn now, and whenever this output is reused."""
        self.draft.notes.append(text)
        self.console.warn(text)


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: Its name; the part before a slash is its group.
        inputs: Names of the stages whose outputs it reads. They may depend on the config: a selector without scores
            does not need a judge.
        settings: Everything besides the inputs that can change the output; part of the key.
        build: Makes the output. Its ValueErrors become UserErrors (`errors.as_user_errors`).
        missing: Requirements of the stage that are not met, each with its remedy; checked before any stage runs.
        resumable: Whether a killed build continues from what it left.
        keyed: The inputs whose keys enter the key of this stage; all by default.
        needs_device: Whether it computes with a model and therefore reserves the device (`gip_exp.device`).
        finish: Completes what `build` made with names that differ between machines or runs of one key; not in the key.
        code: Functions that `build` looks up at run time, such as the selector's. The code of `build` and of these is
            part of the key.
    """

    name: str
    inputs: Callable[[Config], tuple[str, ...]]
    settings: Callable[[Config, Entries], dict[str, Any]]
    build: Callable[[Job], None]
    missing: Callable[[Config], list[str]] = field(default=lambda _: [])
    resumable: bool = False
    keyed: Callable[[Config], tuple[str, ...]] | None = None
    needs_device: Callable[[Config], bool] = field(default=lambda _: False)
    finish: Callable[[Job], None] = field(default=lambda _: None)
    code: Callable[[Config], tuple[Root, ...]] = field(default=lambda _: ())

    @property
    def group(self) -> str:
        """Its folder in the store, and its name in `until`."""
        return self.name.split("/")[0]

    def identity(self, config: Config, entries: Entries) -> dict[str, Any]:
        """Return everything that determines the store key."""
        keyed = (self.keyed or self.inputs)(config)
        return {
            "name": self.name,
            "code": self.code_files(config),
            "settings": self.settings(config, entries),
            "inputs": {name: entries[name].key for name in keyed},
        }

    def code_files(self, config: Config) -> dict[str, str]:
        """Return the digest of the code that makes the output, by source file."""
        return code_of(self.build, *self.code(config))
