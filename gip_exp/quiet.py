"""Silence the progress bars and log output of libraries; errors still show."""

import logging
import os
import warnings

LIBRARIES = (
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
    """Silence libraries. Call before they are imported; variables set by the user take precedence."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not occupy cores
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("LMEVAL_LOG_LEVEL", "ERROR")
    os.environ.setdefault("WANDB_SILENT", "true")
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def no_loading_bars() -> None:
    """Turn off Transformers' bars for loading and saving weights. Call after downloads, whose bars are wanted."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
