"""How long a judge will answer: the announced ends of models (`judge.ends`), and names that do not fix the weights."""

import datetime
import re
from collections.abc import Iterable

from gip_exp.config import Config
from gip_exp.config.judge import End, LLMJudge
from gip_exp.config.selector import OnScores

WARN_DAYS = 60
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})$")


def today() -> datetime.date:
    """Return the current date."""
    return datetime.date.today()


def _public(config: LLMJudge) -> bool:
    """Return whether a provider serves the model: OpenAI, or one whose key has a name of its own; others keep theirs."""
    if config.kind != "openai" or config.provider != "openai":
        return False
    return config.base_url is None or config.key_variable is not None


def ended(config: LLMJudge, key: str) -> list[str]:
    """Return a problem if the judge at the config key `key` was switched off."""
    end = _end(config)
    if end is None or today() < end.date:
        return []
    return [
        f"{key}.model={config.model}: its provider switched it off on {end.date} ({end.source}). Its archived replies can be "
        f"read without it (gip-exp replies import FILE, then {key}.offline=true); to judge anew, choose another judge"
        + (f", for instance {end.instead}, which the provider names" if end.instead else "")
        + ". If the date is wrong, correct "
        + f"{key}.ends"
    ]


def warnings(judges: Iterable[tuple[str, LLMJudge]]) -> list[str]:
    """Return a warning for each judge (config key, judge) that ends within `WARN_DAYS` days, or has ended."""
    found = []
    for key, config in judges:
        end = _end(config)
        if end is None or (end.date - today()).days > WARN_DAYS:
            continue
        left = (end.date - today()).days
        when = (
            f"will be switched off on {end.date}, in {left} days"
            if left > 0
            else f"was switched off on {end.date}"
        )
        found.append(
            f"{key}.model={config.model} {when} ({end.source}): finish before, and keep its replies for others "
            "(gip-exp replies export FILE)"
        )
    return list(dict.fromkeys(found))


def judges(config: Config) -> list[tuple[str, LLMJudge]]:
    """Return the LLM judges that a run asks, with their config keys."""
    sources = config.selector.sources if isinstance(config.selector, OnScores) else (config.selector.signal,)
    found = []
    if isinstance(config.judge, LLMJudge) and "judge" in sources:
        found.append(("judge", config.judge))
    if config.evaluation.mt_bench:
        found.append(("evaluation.mt_bench.judge", config.evaluation.mt_bench.judge))
    return found


def notes(config: LLMJudge, key: str, models: Iterable[str]) -> list[str]:
    """Return what is to be noted beside a judge's verdicts: that it ends soon, and that its name is an alias."""
    return [text for text in (*warnings([(key, config)]), _alias(config, key, models)) if text]


def _alias(config: LLMJudge, key: str, models: Iterable[str]) -> str:
    """Return a note if the judge's name does not fix its weights, with the name in its replies; else ""."""
    if not _public(config) or _DATED.search(config.model):
        return ""
    dated = sorted(name for name in models if name != config.model)
    fixed = (
        f"replies came from {', '.join(dated)}; {key}.model={dated[-1]} fixes it"
        if dated
        else "name a dated model"
    )
    return f"{key}.model={config.model} is an alias, which the provider may move to other weights: {fixed}"


def _end(config: LLMJudge) -> End | None:
    if not _public(config):
        return None
    return config.ends.get(config.model) or config.ends.get(_DATED.sub("", config.model))
