"""Messages for Hydra's and OmegaConf's errors: our own for an unknown key and a missing `=`, else theirs."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from gip_exp.config.check import missing
from gip_exp.config.keys import PLUS, free, groups, keys, nearest, options, unknown_key
from gip_exp.errors import UserError

PRINT = "python -m gip_exp ... --cfg job prints all keys"


def explained(error: Exception, arguments: Sequence[str], also: Sequence[str] = ()) -> str:
    """Return the message for an error of Hydra or OmegaConf, or for a UserError.

    Args:
        error: the error.
        arguments: the command line.
        also: known keys beside those of the configuration.
    """
    from hydra.errors import HydraException, MissingConfigException

    text = str(error).strip()
    if isinstance(error, UserError):
        return text
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return _folder_refused(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        text = _no_such_choice(error.missing_cfg_file, error.options)
    if argument := getattr(error, "override", None):
        if "missing EQUAL" in text:
            return f"cannot read the argument {argument!r}: arguments must be key=value, e.g. {_example(argument)}"
        return (
            f"cannot read the argument {argument!r} ({text}): quote values with special characters, for Hydra and for "
            f"the shell, e.g. {_quoted(argument)}"
        )
    if found := re.search(r"Could not override '([^']+)'", text):
        return _override_refused(found[1], str(error.__cause__), arguments, also)
    if found := re.search(r"Missing mandatory value: ([\w.]+)", text):  # another key is read from it
        text = missing(found[1])
    return f"{text}\nCheck the arguments; --help lists the choices."


def _quoted(argument: str) -> str:
    """Return how to quote a value, by the argument itself if it is a list of words: `key=["--a=1","b"]`."""
    key, _, value = argument.partition("=")
    words = value[1:-1].split(",")
    if value.startswith("[") and value.endswith("]") and not re.search(r"[\[\]{}()'\"\\]", value[1:-1]):
        return f"'{key}=[{','.join(json.dumps(word.strip()) for word in words)}]'"
    return "'data.path=\"/my data/a=b.jsonl\"'"


def dashes(arguments: Sequence[str]) -> str:
    """Return the message for config keys written as options (`--budget=0.1`), or ''. Hydra takes some for its own."""
    wrong = []
    for argument in arguments:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("--") and name and (name in keys() or name in groups()):
            value = argument.partition("=")[2] or "VALUE"
            wrong.append(f"{argument}: write {'+' if name in PLUS else ''}{name}={value}")
    return f"{'; '.join(wrong)} (keys have no leading dashes)" if wrong else ""


def _override_refused(key: str, cause: str, arguments: Sequence[str], also: Sequence[str]) -> str:
    argument = next((one for one in arguments if one.partition("=")[0] == key), key)
    if f"full_key: {key}." in cause:  # the key is there; what is put into it is new
        return f"{argument}: has a name that {key} does not have: write it with a plus, +{key}.NAME=VALUE"
    return f"{argument}: Could not override '{key}': {_instead(key, argument, also)}"


def _no_such_choice(file: str, choices: Sequence[str]) -> str:
    """Return the message for `group=name` where the group, such as `selector`, has no such file."""
    group, _, name = file.rpartition("/")
    not_a_name = "; it cannot be a name of your own: paths.root=FOLDER keeps runs apart, and reports split runs by their data"
    return (
        f"Could not find '{file}': {group} is one of {', '.join(choices)}{nearest(name, choices)}"
        f"{not_a_name if group == 'experiment' else ''}"
    )


def _example(argument: str) -> str:
    """Return a correct argument close to one without `=`."""
    if argument.lstrip("+") in PLUS:
        return "+experiment=quickstart"
    if Path(argument).exists() or Path(argument).suffix in (".json", ".jsonl", ".csv", ".parquet"):
        return f"data.path={argument}"
    group = next((group for group in groups() if argument in options(group)), "")
    return f"{'+' if group in PLUS else ''}{group}={argument}" if group else "budget=0.1"


def _instead(key: str, argument: str, also: Sequence[str]) -> str:
    """Return what to write for a key that cannot be overridden."""
    if key in PLUS or free(key):
        return f"write it with a plus: +{argument}"
    return f"{unknown_key(key, also)}; {PRINT}"


def _folder_refused(error: OSError) -> str:
    return (
        f"paths.root: the folder of the sweep cannot be created ({error.strerror or error}: {error.filename}): choose a "
        "folder you can write to (paths.root, and hydra.run.dir or hydra.sweep.dir if they are set)"
    )
