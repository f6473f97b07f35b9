"""Every YAML composes and validates; every problem is reported at once; only content enters the keys."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gip_exp.cli.hydra_errors import explained
from gip_exp.config import Config, parse
from gip_exp.config.base import content
from gip_exp.errors import UserError

CONF = Path(__file__).resolve().parent.parent / "conf"
GROUPS = (
    "data",
    "target",
    "judge",
    "rubric",
    "sampler",
    "embedder",
    "selector",
    "model",
    "train",
    "engine",
    "tracking",
)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


# What has no default: which model answers, which file ranks.
ASKED = {
    ("sampler", "openai"): ["sampler.model=qwen"],
    ("selector", "ranking"): ["selector.path=ranking.jsonl"],
    ("evaluation", "lm_eval"): ["evaluation.lm_eval.tasks=[ifeval]"],
}


@pytest.mark.parametrize("experiment", names("experiment"))
@pytest.mark.parametrize("selector", names("selector"))
def test_every_experiment_composes_with_every_selector(compose, experiment, selector):
    asked = ASKED.get(("selector", selector), [])
    config = parse(compose(f"+experiment={experiment}", f"selector={selector}", *asked))
    assert config.experiment == experiment
    assert config.selector.name == selector


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in names(group)])
def test_every_file_of_every_group_composes(compose, group, name):
    config = parse(compose("+experiment=quickstart", f"{group}={name}", *ASKED.get((group, name), [])))
    assert getattr(config, group) is not None


@pytest.mark.parametrize("name", names("evaluation"))
def test_every_evaluation_composes_alone(compose, name):
    asked = ASKED.get(("evaluation", name), [])
    config = parse(compose("+experiment=quickstart", f"evaluation=[{name}]", *asked))
    assert list(config.evaluation.chosen()) == [name.removesuffix("_few_shot").removesuffix("_short")]


def test_no_folder_of_configs_is_left_out_of_these_tests():
    covered = {*GROUPS, "evaluation", "experiment", "sweep", "hydra"}
    assert {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "__pycache__"} <= covered


def test_the_papers_command_is_the_papers_setting(compose):
    config = parse(compose("+experiment=gsm8k_qwen", "budget=0.1"))
    assert config.model.path == "Qwen/Qwen3-8B"
    assert config.data.hub.name == "openai/gsm8k"
    assert (config.judge.model, config.train.kind, config.tracking.kind) == (
        "gpt-4o-2024-08-06",
        "lora",
        "wandb",
    )
    assert (config.train.r, config.train.alpha, config.train.epochs, config.train.batch) == (16, 32, 3, 32)


def test_all_problems_are_reported_together(compose):
    with pytest.raises(UserError) as caught:
        parse(compose("+experiment=quickstart", "train.lr=-1", "seed=-2", "until=lunch", "+data.rows=3"))
    message = str(caught.value)
    for part in ("seed=-2", "train.lr=-1", "until='lunch'", "data.rows is not a key"):
        assert part in message


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("budget=0", "budget=0 must be a count of at least 1"),
        ("budget=1.5", "budget=1.5 is not a share in (0, 1]"),
        ("budget=-0.1", "budget=-0.1 is not a share"),
        ("budget=true", "budget=True must be a count"),
        ("budget=lots", "budget='lots' must be a count"),
        ("train.epochs=3", "exactly one of train.epochs and train.steps"),
        ("train.micro_batch=5", "train.batch=16 must be a multiple of train.micro_batch=5"),
        ("model.path=/models/x", "exactly one of model.path"),
        ("model.prompt.template=hello", "must contain {prompt} exactly once"),
        ("data.flawed=1.0", "data.flawed=1.0: input should be less than 1"),
        ("selector.ridge=-1", "selector.ridge=-1: input should be greater than or equal to 0"),
        ("selector.noise=0", "selector.noise=0: input should be greater than 0"),
        (
            "selector={ridge:0,method:omp}",
            "selector.ridge=0 with selector.method=omp: scores need a ridge > 0",
        ),
        ("selector.method=mpp", "selector.method='mpp': input should be 'mp', 'omp' or 'logdet'"),
        ("judge.kind=oracle", "judge='"),
        ("selector.kind=null", "selector.kind=None: choose selector=NAME"),
        ("target.seed=-1", "target.seed=-1: input should be greater than or equal to 0"),
        ("selector.name=/tmp/elsewhere", "becomes part of a folder name"),
        ("budget_unit=words", "budget_unit='words'"),
        ("until=warmup", "only selector=less has this stage"),
        (
            "+selector.signals.judge=1",
            "selector.signals needs selector.signal=mixture, but signal=judge",
        ),
        ("selector.signal=mixture", "selector.signals is empty: weigh at least one source"),
    ],
)
def test_a_wrong_value_names_its_key_and_what_is_allowed(compose, override, part):
    if override.startswith("judge.kind"):
        part = "oracle"
    with pytest.raises(UserError) as caught:
        parse(compose("+experiment=quickstart", override))
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("selector.signals.judge=-1", "selector.signals.judge=-1: input should be greater than 0"),
        (
            "+selector.signals.taste=1",
            "selector.signals names 'taste': use a source (judge, self_consistency",
        ),
        ("selector.score_scaling=rms", "selector.score_scaling=rms would undo the weights"),
        ("selector.signals={judge:null,self_consistency:null}", "selector.signals is empty"),
    ],
)
def test_a_mixture_that_makes_no_sense_is_refused(compose, override, part):
    with pytest.raises(UserError) as caught:
        parse(compose("+experiment=quickstart", "selector=mp_mixture", override))
    assert part in str(caught.value)


def test_weights_of_columns_can_be_given_on_the_command_line(compose):
    extra = ["+selector.signals.metadata.length=0.2", "selector.signals.self_consistency=null"]
    selector = parse(compose("+experiment=quickstart", "selector=mp_mixture", *extra)).selector
    assert selector.weights == {"judge": 1.0, "metadata.length": 0.2}
    assert selector.sources == ("judge", "metadata")


@pytest.mark.parametrize("override", ["evaluation.gsm8k.task=few_shot", "evaluation.gsm8k.shots=5"])
def test_a_few_shot_task_and_its_shots_go_together(compose, override):
    with pytest.raises(UserError, match=r"evaluation\.gsm8k\.shots=\d: few_shot shows worked examples"):
        parse(compose("+experiment=quickstart", override))


def test_full_is_the_same_run_whatever_the_budget(compose):
    small, large = (
        parse(compose("+experiment=quickstart", "selector=full", f"budget={b}")) for b in (0.1, 7)
    )
    assert small == large
    assert small.budget == 1.0


def test_an_integer_budget_stays_a_count_and_a_float_a_share(compose):
    one, whole = (parse(compose("+experiment=quickstart", f"budget={b}")).budget for b in ("1", "1.0"))
    assert (type(one), type(whole)) == (int, float)


def test_seed_zero_is_a_seed(compose):
    config = parse(compose("+experiment=quickstart", "seed=0"))
    assert (config.data.seed, config.train.seed, config.model.scratch.seed) == (0, 0, 0)


@pytest.mark.parametrize(
    "override",
    [
        "paths.root=/elsewhere",
        "engine.device=cpu",
        "engine.batch_size=3",
        "tracking=wandb",
        "until=select",
        "train.micro_batch=4",
    ],
)
def test_what_cannot_change_a_result_is_not_content(compose, override):
    plain, changed = (parse(compose("+experiment=quickstart", *extra)) for extra in ([], [override]))
    assert plain != changed
    assert content(plain) == content(changed)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "budget=0.2",
        "train.lr=1e-5",
        "data.n=100",
        "target.n=5",
        "selector.ridge=0.5",
        "selector=random",
    ],
)
def test_what_can_change_a_result_is_content(compose, override):
    plain, changed = (parse(compose("+experiment=quickstart", *extra)) for extra in ([], [override]))
    assert content(plain) != content(changed)


def test_the_config_never_changes_after_validation(compose):
    config: Config = parse(compose("+experiment=quickstart"))
    with pytest.raises(Exception, match="frozen"):
        config.seed = 3


def test_an_address_with_a_password_is_refused_without_repeating_it(compose):
    override = "judge.base_url=http://user:hunter2@127.0.0.1:9/v1"
    with pytest.raises(UserError) as caught:
        parse(compose("+experiment=quickstart", "judge=openai", override))
    assert "judge.base_url" in str(caught.value)
    assert "holds what looks like a secret" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_stopping_at_a_stage_the_experiment_lacks_is_refused(compose):
    with pytest.raises(UserError, match="until=base: the model is neither trained from scratch"):
        parse(compose("+experiment=gsm8k_qwen", "until=base"))
    with pytest.raises(UserError, match="until=evaluate: no evaluation is chosen"):
        parse(compose("+experiment=own_data", "until=evaluate"))


@pytest.mark.parametrize(
    ("other", "part"),
    [
        ("train=none", "budget_unit=tokens counts the tokens of the fine-tuning, but train=none"),
        ("selector=k_means", "budget_unit=tokens needs a ranking, but selector=k_means"),
    ],
)
def test_a_budget_in_tokens_needs_a_fine_tuning_and_a_ranking(compose, other, part):
    with pytest.raises(UserError) as caught:
        parse(compose("+experiment=quickstart", "budget_unit=tokens", other))
    assert part in str(caught.value)


def test_the_full_data_ignore_the_budget_and_its_unit(compose):
    config = parse(compose("+experiment=quickstart", "selector=full", "budget=5000", "budget_unit=tokens"))
    assert (config.budget, config.budget_unit) == (1.0, "rows")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ("selector=mp_mixture", "selector.signals={taste:1}"),
            "selector.signals={taste:1}: has a name that selector.signals does not have: write it with a plus, "
            "+selector.signals.NAME=VALUE",
        ),
        (("selector=mp_ma", "selector.signals={taste:1}"), "the chosen selector has no key selector.signals"),
        (("sampler=openai",), "sampler.model is missing: give it a value (sampler.model=...)"),
    ],
)
def test_what_hydra_refuses_is_said_by_the_key_and_what_to_write(compose, overrides, told):
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        compose("+experiment=quickstart", *overrides)
    assert told in explained(refused.value, overrides)
