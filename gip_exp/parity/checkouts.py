"""DISF and LESS against checkouts of the authors' repositories, given by path.

Their functions are read out of the files, because the modules import what is not needed here (a projector for CUDA, a reader of
compressed shards) and run on a GPU. Scripts are run as they are.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.parity.agreement import Outcome, Pool, both, same_numbers, same_picks, timed

BATCH, PICKS = 256, 12  # of DISF, whose loop is slow
SUBTASKS = 9  # of tydiqa in LESS's table of tasks
EXAMPLES, TARGETS = 24, 36
CHECKPOINTS = {105: 2.0, 211: 1.0}  # number: learning rate


def functions_of(
    path: Path, names: Sequence[str], known: Mapping[str, Any], replaced: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return functions of a file by name, without importing it.

    Args:
        path: A Python file.
        names: Functions at its top level.
        known: What the functions use.
        replaced: Old text -> new text, within the functions.

    Raises:
        UserError: A function is not in the file.
    """
    text = path.read_text(encoding="utf-8")
    space = dict(known)
    for name in names:
        # Up to the next line at the left margin after the body; a signature may end there with "):".
        found = re.search(
            rf"^def {name}\(.*?\)[^\n]*:\n(?:[ \t][^\n]*\n|\n)+", text, re.MULTILINE | re.DOTALL
        )
        if found is None:
            raise UserError(f"{path} has no function {name}: give a checkout of the authors' repository")
        source = found[0]
        for old, new in (replaced or {}).items():
            source = source.replace(old, new)
        exec(compile(source, str(path), "exec"), space)
    return {name: space[name] for name in names}


def disf_and_checkout(pool: Pool, root: Path) -> Outcome:
    """Compare the picks of one batch with `hunger_select`, from the same random first pick."""
    import torch

    from baselines import disf

    rows = pool.features[:BATCH]
    ours, ours_s = timed(lambda: disf.select(rows, PICKS, batch_size=BATCH, seed=pool.seed))
    first = SimpleNamespace(randint=lambda *_: int(ours.indices[0]))
    on_cpu = {'"cuda:"+str(device_id)': '"cpu"'}
    names = ["off_diagonal", "cal_corre", "hunger_select"]
    known = {"torch": torch, "np": np, "random": first}
    theirs = functions_of(root / "DISF" / "select_disf.py", names, known, on_cpu)["hunger_select"]
    (picks, _), theirs_s = timed(lambda: theirs(rows, top_k=PICKS, batch_size=BATCH))
    return Outcome(*same_picks(ours.indices.tolist(), list(picks)), ours_s, theirs_s)


def less_gradients_and_checkout(pool: Pool, root: Path) -> Outcome:
    """Compare per-example gradients, plain and Adam-corrected, of a tiny model with LoRA."""
    import torch

    from baselines import less
    from baselines.less.gradients import collate

    path = root / "less" / "data_selection" / "collect_grad_reps.py"
    theirs = functions_of(path, ["obtain_gradients", "obtain_gradients_with_adam"], {"torch": torch})
    model, examples = _tiny_lora(pool), _examples(pool)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    size = sum(model.get_parameter(name).numel() for name in names)
    generator = torch.Generator().manual_seed(pool.seed)
    first = 1e-3 * torch.randn(size, generator=generator)
    second = 1e-6 * torch.rand(size, generator=generator)

    def one_by_one(corrected: bool) -> Any:
        found = []
        for example in examples:
            model.zero_grad(set_to_none=True)
            batch = collate([example])
            if corrected:
                found.append(theirs["obtain_gradients_with_adam"](model, batch, first, second))
            else:
                found.append(theirs["obtain_gradients"](model, batch))
        return torch.stack(found)

    ours, ours_s = timed(lambda: less.per_example_gradients(model, collate(examples), names))
    plain, theirs_s = timed(lambda: one_by_one(False))
    adam = less.adam_direction(ours, first, second)
    found = both(same_numbers(ours, plain, 1e-4), same_numbers(adam, one_by_one(True), 1e-3))
    return Outcome(*found, ours_s, theirs_s)


def less_matching_and_checkout(pool: Pool, root: Path) -> Outcome:
    """Compare influence and picks with the scripts `matching.py` and `write_selected_data.py`."""
    from baselines import less

    rng = pool.random("less")
    train, target = ([_unit(rng, n) for _ in CHECKPOINTS] for n in (pool.n, TARGETS))
    parts = np.repeat(np.arange(SUBTASKS), TARGETS // SUBTASKS).tolist()
    weights = list(CHECKPOINTS.values())

    def select() -> tuple[np.ndarray, list[int]]:
        influence = less.influence(train, target, weights, subtasks=parts)
        return influence, less.select(influence, pool.budget).indices.tolist()

    (ours, picks), ours_s = timed(select)
    (expected, expected_picks), theirs_s = timed(lambda: _run_matching(root, train, target, pool.budget))
    found = both(same_numbers(ours, expected, 1e-5), same_picks(picks, expected_picks))
    return Outcome(*found, ours_s, theirs_s)


def _run_matching(
    root: Path, train: list[np.ndarray], target: list[np.ndarray], budget: int
) -> tuple[np.ndarray, list[int]]:
    """Run both scripts of LESS on features in files; return the influence and the picks, best first."""
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, rows, aims in zip(CHECKPOINTS, train, target, strict=True):
            torch.save(torch.from_numpy(rows), folder / f"train-{number}-pool.pt")
            torch.save(torch.from_numpy(aims), folder / f"target-{number}-tydiqa.pt")
        lines = folder / "pool.jsonl"
        lines.write_text("".join(f"{row}\n" for row in range(len(train[0]))), encoding="utf-8")
        shared = ["--train_file_names", "pool", "--target_task_names", "tydiqa", "--output_path", name]
        _script(
            root, "matching.py", *shared, "--ckpts", *map(str, CHECKPOINTS),
            "--checkpoint_weights", *map(str, CHECKPOINTS.values()),
            "--gradient_path", f"{name}/train-{{}}-{{}}.pt", "--validation_gradient_path", f"{name}/target-{{}}-{{}}.pt",
        )  # fmt: skip
        _script(
            root, "write_selected_data.py", *shared, "--train_files", str(lines), "--max_samples", str(budget)
        )
        influence = torch.load(folder / "tydiqa" / "pool_influence_score.pt").cpu().numpy()
        picks = (folder / "tydiqa" / f"top_num{budget}.jsonl").read_text(encoding="utf-8").split()
    return influence, [int(row) for row in picks]


def _script(root: Path, name: str, *arguments: str) -> None:
    path = root / "less" / "data_selection" / name
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")


def _unit(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = rng.normal(size=(n, 256)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _tiny_lora(pool: Pool) -> Any:
    """Return a Qwen3 of two layers with LoRA whose second factor is not zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(pool.seed)
        config = Qwen3Config(
            vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, max_position_embeddings=256, tie_word_embeddings=True,
        )  # fmt: skip
        adapters = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
        model = get_peft_model(Qwen3ForCausalLM(config), adapters)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
    return model.eval()


def _examples(pool: Pool) -> list[dict[str, list[int]]]:
    rows = []
    for text in pool.texts(EXAMPLES, "less"):
        ids = list(text.encode())[:160]
        half = len(ids) // 2
        rows.append({"input_ids": ids, "labels": [-100] * half + ids[half:]})
    return rows
