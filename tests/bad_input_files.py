"""What a case of the bad-input campaign is, and the files that cases start from."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
GOOD_ROW = '{"question": "What is 2 + 3?", "answer": "2 + 3 = 5\\n#### 5"}\n'


class Templates:
    """Good files, made once, for cases that damage a copy of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @cached_property
    def plan(self) -> Path:
        """A plan of two runs; its runs would lie in the templates' own folder."""
        place = self.folder / "plan"
        command = [
            sys.executable,
            "-m",
            "gip_exp.plan",
            "+experiment=quickstart",
            "selector=random",
            "budget=0.1,0.2",
        ]
        command += ["data.n=40", "data.n_test=8", f"paths.root={self.folder}/planned", "--write", str(place)]
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return place

    @cached_property
    def model(self) -> Path:
        """A folder that looks like a Qwen3 of a few weights: header, config, tokenizer."""
        import torch
        from safetensors.torch import save_file

        place = self.folder / "model"
        place.mkdir()
        (place / "config.json").write_text(
            json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": 8})
        )
        (place / "tokenizer.json").write_text("{}")
        (place / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
        save_file({"model.embed_tokens.weight": torch.zeros(4, 8)}, str(place / "model.safetensors"))
        return place


Prepare = Callable[[Path, Templates], None]


@dataclass(frozen=True)
class Case:
    """A command that must be refused. `{work}` in arguments and texts stands for the case's own folder.

    says: what the message must hold: the key, row or file, and where it matters the remedy. files: path below the
    folder -> content. prepare_more: what plain files cannot say. fresh: only a process of its own can show it
    (variables that libraries read when they are imported). keeps: a folder whose content may stay because it is
    finished (the store's rows) or says what happened (a plan's states), with a slash at its end.
    """

    cause: str
    arguments: tuple[str, ...]
    says: tuple[str, ...]
    command: str = "gip_exp"
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    more: Prepare | None = None
    fresh: bool = False
    keeps: str = ""

    def prepare(self, folder: Path, templates: Templates) -> None:
        """Write the files that the command meets."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if self.more is not None:
            self.more(folder, templates)


@dataclass(frozen=True)
class Call:
    """A call of the Python entry point that must raise ValueError naming the argument."""

    cause: str
    arguments: Mapping[str, Any]
    says: tuple[str, ...]

    def fault(self) -> str:
        """What is wrong with how it ends, or ''."""
        import numpy as np

        from selection import gip_select

        features = np.arange(24, dtype=np.float64).reshape(8, 3) % 7
        given = {"features": features, "budget": 2, "scores": np.ones((8, 2)), **self.arguments}
        try:
            gip_select(given.pop("features"), given.pop("budget"), **given)
        except ValueError as error:
            missing = [text for text in self.says if text not in str(error)]
            return f"{self.cause}: {error} does not say {missing}" if missing else ""
        except Exception as error:
            return f"{self.cause}: {type(error).__name__}: {error}"
        return f"{self.cause}: not refused"


def copied(template: str, to: str, damage: Callable[[Path], None] | None = None) -> Prepare:
    """Copy a template's folder into the case's as `to`, then damage it."""

    def prepare(folder: Path, templates: Templates) -> None:
        shutil.copytree(getattr(templates, template), folder / to)
        if damage is not None:
            damage(folder / to)

    return prepare
