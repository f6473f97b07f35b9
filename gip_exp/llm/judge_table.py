"""Input and output of judging a pool: settings, examples, the table of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gip_exp.llm.agreement import Agreement
from gip_exp.llm.request import Stats
from gip_exp.llm.settings import EndpointSettings, Sampling, raise_problems

Example = Mapping[str, Any]


@dataclass(frozen=True)
class JudgeSettings:
    """How a pool is judged.

    Attributes:
        endpoint: where the judge answers.
        sampling: how replies are sampled.
        votes: replies per example, averaged.
        repeat: another number asks for replies of their own.
        content_retries: further attempts after an unreadable reply.
        retry_temperature: minimum temperature of further attempts, since a model repeats itself at 0.
        max_unscored: share of the pool that may stay unscored before the run stops.
    """

    endpoint: EndpointSettings
    sampling: Sampling = field(default_factory=Sampling)
    votes: int = 1
    repeat: int = 0
    content_retries: int = 2
    retry_temperature: float = 0.7
    max_unscored: float = 0.01

    def check(self) -> None:
        """Raise one LLMError that lists every problem with these settings."""
        found = self.sampling.problems()
        if self.votes < 1:
            found.append(f"votes is {self.votes}; allowed: 1 or more")
        if self.content_retries < 0:
            found.append(f"content_retries is {self.content_retries}; allowed: 0 or more")
        if not 0.0 <= self.max_unscored <= 1.0:
            found.append(f"max_unscored is {self.max_unscored}; allowed: a share from 0 to 1")
        if not 0.0 <= self.retry_temperature <= 2.0:
            found.append(f"retry_temperature is {self.retry_temperature}; allowed: 0 to 2")
        raise_problems("judge", found)
        self.endpoint.check()


@dataclass(frozen=True)
class Unscored:
    """An example without a score, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class JudgeTable:
    """The grades of a pool of n examples under a rubric of k attributes.

    Attributes:
        ids: ids of the examples.
        attributes: names of the attributes.
        scores: (n, k) float64, mean of the readable votes, NaN for unscored rows.
        vote_scores: (n, votes, k) float64, NaN for a lost vote.
        unscored: examples without a score, in pool order.
        stats: counts of the calls.
        agreement: agreement of the votes; None for a single vote.
    """

    ids: tuple[str, ...]
    attributes: tuple[str, ...]
    scores: NDArray[np.float64]
    vote_scores: NDArray[np.float64]
    unscored: tuple[Unscored, ...]
    stats: Stats
    agreement: Agreement | None

    @property
    def n_unscored(self) -> int:
        """Number of examples without a score."""
        return len(self.unscored)

    def summary(self) -> dict[str, Any]:
        """Return counts, means and agreement as plain JSON values."""
        scored = self.scores[~np.isnan(self.scores).any(axis=1)]
        means = scored.mean(axis=0).tolist() if len(scored) else [None] * len(self.attributes)
        return {
            "n": len(self.ids),
            "n_unscored": self.n_unscored,
            "lost_votes": int(np.isnan(self.vote_scores[:, :, 0]).sum()),
            "means": dict(zip(self.attributes, means, strict=True)),
            "agreement": None if self.agreement is None else self.agreement.as_dict(),
            "llm": self.stats.as_dict(),
        }


def check_examples(examples: Sequence[Example]) -> None:
    """Raise one LLMError naming the first bad rows: missing or non-text fields, repeated ids."""
    problems, seen = [], set()
    for row, example in enumerate(examples):
        for name in ("id", "prompt", "completion"):
            if not isinstance(example.get(name), str):
                problems.append(f"row {row}: {name} is {type(example.get(name)).__name__}, it must be text")
        if example.get("id") in seen:
            problems.append(f"row {row}: id {example.get('id')!r} appears twice")
        seen.add(example.get("id"))
        if len(problems) >= 5:
            break
    if not len(examples):
        problems.append("there are no examples to judge")
    raise_problems("pool to judge", problems)
