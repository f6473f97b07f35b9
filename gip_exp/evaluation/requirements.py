"""Requirements of evaluations besides the model, checked before any work: question files, a judge, vLLM."""

from pathlib import Path

from gip_exp.config import Config
from gip_exp.config.base import Section
from gip_exp.config.evaluation import BbhEvaluation, LmEvalEvaluation, MtBenchEvaluation
from gip_exp.config.train import LoraTrain
from gip_exp.models import hub, loading
from gip_exp.signals import judge_requirements

NO_TEST_ROWS = (
    "the data has no test rows to evaluate on: put a test file beside the training file, or choose "
    "evaluation=[mt_bench,bbh]"
)


def served_rank(config: Config) -> list[str]:
    """Return a problem if vLLM cannot serve an adapter of this rank."""
    from gip_exp.llm.adapters import SERVABLE_RANKS

    most = SERVABLE_RANKS[-1]
    if not isinstance(config.train, LoraTrain) or config.train.r <= most:
        return []
    return [f"train.r={config.train.r}: vLLM serves adapters up to rank {most}; lower it, or use engine=hf"]


def reply_length(name: str, chosen: Section, config: Config) -> list[str]:
    """Return a problem if `max_new_tokens` leaves no tokens of the context for the prompt."""
    length = getattr(chosen, "max_new_tokens", None)
    limits = {"the model": loading.context(config.model)}
    if config.engine.kind == "vllm":
        limits[f"engine.max_model_len={config.engine.max_model_len}"] = config.engine.max_model_len
    return [
        f"evaluation.{name}.max_new_tokens={length} leaves no room for a prompt: the context of {what} is {limit} tokens, "
        "prompt and reply together; lower it, or use a model with a longer context"
        for what, limit in limits.items()
        if length and limit and length >= limit
    ]


def mt_bench(config: MtBenchEvaluation, whole: Config) -> list[str]:
    """Return the unmet requirements of MT-Bench: its judge and its question files."""
    from eval import mt_bench_files

    problems = judge_requirements.missing_judge(config.judge, "evaluation.mt_bench.judge")
    if config.judge.votes != 1:
        problems.append(
            f"evaluation.mt_bench.judge.votes={config.judge.votes}: use evaluation.mt_bench.repeats instead (votes must "
            "be 1)"
        )
    problems += [
        f"evaluation.mt_bench.judge.{key}={value}: it is for scoring a pool, unset it (another judgement of the same "
        "answers: evaluation.mt_bench.repeats)"
        for key, value in (("repeat", config.judge.repeat), ("sample", config.judge.sample))
        if value
    ]
    if config.judge_reply == "rating" and config.judge.kind == "openai" and config.judge.base_url is None:
        problems.append(
            "evaluation.mt_bench.judge_reply=rating: only vLLM servers can restrict the form of a reply; use free, or a "
            "judge served by vLLM (judge@evaluation.mt_bench.judge=vllm, or its evaluation.mt_bench.judge.base_url)"
        )
    cache = whole.paths.root / "downloads" / "mt_bench"
    names = [
        file.name
        for file in (mt_bench_files.QUESTIONS, mt_bench_files.JUDGE_PROMPTS, mt_bench_files.REFERENCES)
    ]
    if config.data_dir is None and not all((cache / name).is_file() for name in names):
        host = mt_bench_files.SOURCE
        if why := hub.no_answer(host):
            problems.append(
                f"evaluation.mt_bench.data_dir is not set and {host} cannot be reached ({why}): give a folder with "
                f"{', '.join(names)}"
            )
        return problems
    try:
        mt_bench_files.load_mt_bench(config.data_dir, cache_dir=None if config.data_dir else cache)
    except ValueError as error:
        problems.append(f"evaluation.mt_bench.data_dir: {error}")
    return problems


def bbh(config: BbhEvaluation, _: Config) -> list[str]:
    """Return the unmet requirements of BBH: known tasks and their question files."""
    from eval import bbh

    wanted = config.tasks if config.tasks is not None else list(bbh.TASKS)
    unknown = [task for task in wanted if task not in bbh.TASKS]
    if unknown or not wanted:
        return [
            f"evaluation.bbh.tasks={wanted}: {unknown or 'empty'}; choose from BBH's tasks: {', '.join(bbh.TASKS)}"
        ]
    if config.data_dir is None:
        if hub.cached_dataset(bbh.HUB) or not (why := hub.unreachable()):
            return []
        return [
            f"evaluation.bbh.data_dir is not set, the data set {bbh.HUB} is not in the local cache, and {hub.endpoint()} "
            f"cannot be reached ({why}): give a folder of <task>.json, or go online"
        ]
    if not Path(config.data_dir).is_dir():
        return [f"evaluation.bbh.data_dir={config.data_dir} is not a folder: give a folder of <task>.json"]
    absent = [task for task in wanted if not (Path(config.data_dir) / f"{task}.json").is_file()]
    if absent:
        return [
            f"evaluation.bbh.data_dir={config.data_dir}: there is no {', '.join(f'{task}.json' for task in absent)}; put "
            "them there, or choose evaluation.bbh.tasks"
        ]
    return [problem for task in wanted if (problem := _broken(task, Path(config.data_dir)))]


def _broken(task: str, folder: Path) -> str:
    from eval import bbh

    try:
        bbh.read_task(task, folder)
    except ValueError as error:
        return f"evaluation.bbh.data_dir: {error}; give the published files"
    return ""


def lm_eval(config: LmEvalEvaluation, _: Config) -> list[str]:
    """Return the unmet requirements of lm-eval's tasks: known names, and data that is here or on a hub that answers."""
    from eval import lm_eval_tasks

    folder = Path(config.include_path) if config.include_path else None
    if folder is not None and not folder.is_dir():
        return [
            f"evaluation.lm_eval.include_path={folder} is not a folder: give one with task definitions (YAML)"
        ]
    try:
        found = lm_eval_tasks.definitions(config.tasks, folder)
    except ValueError as error:
        return [f"evaluation.lm_eval: {error}"]
    absent = [path for path in lm_eval_files(config) if not path.is_file()]
    problems = [f"evaluation.lm_eval.tasks={config.tasks}: there is no {path}" for path in absent]
    sets = sorted({str(task["dataset_path"]) for task in found.values() if task.get("dataset_path")})
    away = [name for name in sets if not _is_local(name) and not hub.cached_dataset(name)]
    if away and (why := hub.unreachable()):
        problems.append(
            f"evaluation.lm_eval.tasks={config.tasks}: the data {', '.join(away)} is not in the local cache, and "
            f"{hub.endpoint()} cannot be reached ({why}): download it where there is a network (hf download --repo-type "
            "dataset), or define the tasks on local files (evaluation.lm_eval.include_path=DIR, dataset_path: json)"
        )
    return problems


FILE_LOADERS = ("json", "csv", "parquet", "arrow", "text")  # of `datasets`; their files are in data_files


def _is_local(name: str) -> bool:
    return name in FILE_LOADERS or Path(name).exists()


def lm_eval_files(config: LmEvalEvaluation) -> list[Path]:
    """Return the local data files that the tasks' definitions name."""
    from eval import lm_eval_tasks

    folder = Path(config.include_path) if config.include_path else None
    files: list[Path] = []
    for task in lm_eval_tasks.definitions(config.tasks, folder).values():
        given = (task.get("dataset_kwargs") or {}).get("data_files") or []
        parts = given.values() if isinstance(given, dict) else [given]
        names = [name for part in parts for name in ([part] if isinstance(part, str) else part)]
        files += [Path(name) for name in names if "://" not in name and "*" not in name]
    return sorted(set(files))
