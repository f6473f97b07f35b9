"""The libraries' own bars and chatter off: one console, one progress display. Warnings and errors stay."""

import logging
import os
import warnings

CHATTY = (
    "lm_eval",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "httpx",
    "httpcore",
    "absl",
    "filelock",
)


def quiet_libraries() -> None:
    """Call before the heavy libraries are imported; what the user set in the environment wins."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # a thread that waits must not burn the core it waits for
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
    os.environ.setdefault("WANDB_SILENT", "true")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def no_loading_bars() -> None:
    """Transformers' bars for reading and writing weights (after downloads, whose bars people want to see)."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
