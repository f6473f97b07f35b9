"""The rows of the generated pool (`data=arithmetic`) as examples with labels."""

from typing import Any

from gip_exp.config.data import ArithmeticData
from gip_exp.data.arithmetic import Problem, make_pool, make_test
from gip_exp.data.rows import Example


def generated_rows(data: ArithmeticData) -> tuple[list[Example], list[Example], list[dict[str, Any]]]:
    """Return (pool, test set, labels of both: id, skill and flaw)."""
    problems = make_pool(data.n, data.seed, flawed=data.flawed)
    tests = make_test(data.n_test, data.test_seed, {problem.question for problem in problems})
    pool = [_example("train", i, problem) for i, problem in enumerate(problems)]
    test = [_example("test", i, problem) for i, problem in enumerate(tests)]
    labels = [
        {"id": example["id"], "skill": problem.skill, "flaw": problem.flaw}
        for example, problem in zip(pool + test, problems + tests, strict=True)
    ]
    return pool, test, labels


def _example(split: str, position: int, problem: Problem) -> Example:
    return {"id": f"{split}-{position:06d}", "prompt": problem.question, "completion": problem.answer}
