"""What a stage is: a name, what it reads, what can change its output, and how the output is made."""

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
    """One stage at work: the config, the finished inputs, and where to write."""

    config: Config
    inputs: Entries
    draft: Draft
    console: Console
    log: Callable[[dict[str, float]], None] = field(default=lambda _: None)  # live figures, for tracking

    @property
    def folder(self) -> Path:
        """Where the output is written."""
        return self.draft.folder

    def note(self, text: str) -> None:
        """Warn now, and again whenever this output is reused."""
        self.draft.notes.append(text)
        self.console.warn(text)


@dataclass(frozen=True)
class Stage:
    """`settings` gives everything beyond the inputs that can change the output; it becomes part of the key. A ValueError
    of `build` is taken for a user's error (`errors.as_user_errors`), as the pure packages raise them.

    `inputs` may depend on the config (a selector without scores does not wait for a judge); `keyed` names those whose
    keys enter this stage's key, by default all. `missing` lists what this machine lacks for the stage, each with its
    remedy; it is asked before anything runs. `needs_device` says whether it computes with a model: it then has the
    device to itself (`gip_exp.device`). `code` names what `build` finds only at run time (the selector's function); with
    all that both use it becomes part of the key. The store folder is the name up to a slash.
    """

    name: str
    inputs: Callable[[Config], tuple[str, ...]]
    settings: Callable[[Config, Entries], dict[str, Any]]
    build: Callable[[Job], None]
    missing: Callable[[Config], list[str]] = field(default=lambda _: [])
    resumable: bool = False
    keyed: Callable[[Config], tuple[str, ...]] | None = None
    needs_device: Callable[[Config], bool] = field(default=lambda _: False)
    code: Callable[[Config], tuple[Root, ...]] = field(default=lambda _: ())

    @property
    def group(self) -> str:
        """The stage's group: its folder in the store, and what `until` names."""
        return self.name.split("/")[0]

    def identity(self, config: Config, entries: Entries) -> dict[str, Any]:
        """Everything that the store key is made of."""
        keyed = (self.keyed or self.inputs)(config)
        return {
            "name": self.name,
            "code": self.code_files(config),
            "settings": self.settings(config, entries),
            "inputs": {name: entries[name].key for name in keyed},
        }

    def code_files(self, config: Config) -> dict[str, str]:
        """Digest of the code that makes the output, by source file."""
        return code_of(self.build, *self.code(config))
