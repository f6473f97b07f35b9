"""Messages for errors of Hydra and OmegaConf: the argument, what is allowed, what to do."""

import re
from collections.abc import Sequence

from gip_exp.config.keys import PLUS, free, groups, keys, mappings, nearest, options, unknown_key
from gip_exp.errors import UserError

SUBMITIT = "hydra/launcher=slurm needs the submitit launcher: pip install 'gip-exp[slurm]'"
PRINT = "python -m gip_exp ... --cfg job prints all keys"


def explained(error: Exception, arguments: Sequence[str], also: Sequence[str] = ()) -> str:
    """Return the message for an error of Hydra or OmegaConf; that of a UserError is returned unchanged.

    Args:
        error: The error.
        arguments: The arguments of the command.
        also: Valid keys besides those of the config.
    """
    from hydra.errors import HydraException

    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and not isinstance(error, HydraException):
        return _folder_refused(error)
    for explain in (_syntax, _no_file, _no_key, _reference, _group, _ambiguous):
        if message := explain(error, arguments, also):
            return message
    hint = f"; {SUBMITIT}" if "submitit" in str(error) else ""
    return f"{str(error).strip()}{hint or '; check this argument (see --help)'}"


def dashes(arguments: Sequence[str]) -> str:
    """Return the message for config keys written as options (`--budget=0.1`), or ''. Hydra takes some for its own."""
    wrong = []
    for argument in arguments:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("--") and name and (name in keys() or name in groups()):
            value = argument.partition("=")[2] or "VALUE"
            wrong.append(f"{argument}: write {'+' if name in PLUS else ''}{name}={value}")
    return f"{'; '.join(wrong)} (keys have no leading dashes)" if wrong else ""


def _syntax(error: Exception, *_: Sequence[str]) -> str:
    """An argument that Hydra's parser cannot read."""
    override = getattr(error, "override", None)
    if not override:
        return ""
    if "missing EQUAL" in str(error):
        group = next((group for group in groups() if override in options(group)), "")
        example = _chosen(group, override) if group else "budget=0.1"
        if override.lstrip("+") in PLUS:
            example = "+experiment=quickstart"
        return f"cannot read the argument {override!r}: arguments must be key=value, e.g. {example}"
    why = str(error).strip().splitlines()[0]
    return (
        f"cannot read the argument {override!r} ({why}): quote values with special characters, for Hydra and for the "
        "shell, e.g. 'data.path=\"/my data/a=b.jsonl\"'"
    )


def _chosen(group: str, name: str) -> str:
    """Return the argument that chooses a file of a group."""
    return f"{'+' if group in PLUS else ''}{group}={name}"


def _no_file(error: Exception, *_: Sequence[str]) -> str:
    """A config group has no such file."""
    missing = getattr(error, "missing_cfg_file", None)
    missing = missing or next(iter(re.findall(r"Could not (?:load|find) '([^']+)'", str(error))), None)
    if not missing:
        return ""
    group, name = str(missing).rpartition("/")[::2]
    if not group:
        return f"there is no config {missing!r}: omit --config-name and use +experiment=NAME"
    available = sorted({*(getattr(error, "options", None) or ()), *options(group)})
    hint = f"; {SUBMITIT}" if "submitit" in name else ""
    return (
        f"{_chosen(group, name)}: Could not find '{group}/{name}'{nearest(name, available)} "
        f"Choose from: {', '.join(available)}{hint}"
    )


def _no_key(error: Exception, arguments: Sequence[str], also: Sequence[str]) -> str:
    found = re.search(r"Could not override '([^']+)'", str(error))
    if not found:
        return ""
    key = found[1]
    argument = next((text for text in arguments if text.partition("=")[0] == key), key)
    return f"{argument}: Could not override '{key}': {_instead(key, argument, also)}"


def _instead(key: str, argument: str, also: Sequence[str]) -> str:
    """Return what to write for a key that cannot be overridden."""
    if key in PLUS or free(key):
        return f"write it with a plus: +{argument}"
    if key in mappings():
        return f"give new names one by one: +{key}.NAME=VALUE"
    if "@" in key:
        return f"choose from the groups {', '.join(groups())}"
    if key in groups() or key.startswith("hydra"):
        return f"check its spelling; {PRINT}"
    return f"{unknown_key(key, also)}; {PRINT}"


def _reference(error: Exception, arguments: Sequence[str], _: Sequence[str]) -> str:
    """A `${...}` that refers to an unknown key or to a missing value (`???`)."""
    from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

    if not isinstance(error, InterpolationResolutionError | MissingMandatoryValue):
        return ""
    argument = next((text for text in arguments if "${" in text), "a value")
    key = getattr(error, "full_key", None) or argument
    text = str(error).splitlines()[0]
    if absent := re.search(r"Missing mandatory value: (\S+)", text):
        return f"{absent[1]} is missing: give it a value ({absent[1]}=...)"
    if unknown := re.search(r"Interpolation key '([^']+)' not found", text):
        meant = nearest(unknown[1], keys())
        # The error names the first key that needs the value (e.g. judge.name), not the argument that contains it.
        written = next((text for text in arguments if f"${{{unknown[1]}}}" in text), key)
        key = written.partition("=")[0].lstrip("+")
        return f"{key} refers to ${{{unknown[1]}}}, but there is no such key: check its spelling{meant}"
    return f"{key}: {text}: check what it refers to"


def _group(error: Exception, arguments: Sequence[str], _: Sequence[str]) -> str:
    text = str(error)
    if "force-add of config groups" in text:
        argument = next(iter(re.findall(r"'(.*)'", text)), "")
        group = argument.lstrip("+").partition("=")[0]
        choices = f" The group {group} has: {', '.join(options(group))}" if options(group) else ""
        return f"{argument}: write {_chosen(group, 'NAME')}.{choices}"
    empty = [argument for argument in arguments if argument.endswith(("=", "=null"))]
    if empty and "Config group override" in text:
        return (
            f"{', '.join(empty)}: a config group cannot be empty; choose one of its files (--help lists them)"
        )
    return ""


def _ambiguous(error: Exception, *_: Sequence[str]) -> str:
    """A list without -m."""
    found = re.search(r"Ambiguous value for argument '([^']*)'", str(error))
    if not found:
        found = re.search(r"Sweep parameters '([^']*)' requires --multirun", str(error))
    if not found:
        return ""
    key, value = found[1].split("=", 1)
    return f"{found[1]} has several values: add -m to sweep over them, or write {key}=[{value}] for a list"


def _folder_refused(error: OSError) -> str:
    """A folder for a sweep or a run that Hydra cannot create."""
    return (
        f"paths.root: the folder of the sweep cannot be created ({error.strerror or error}: {error.filename}): choose a "
        "folder you can write to (paths.root, and hydra.run.dir or hydra.sweep.dir if they are set)"
    )
