"""The paper's claims as data, each with the rule that decides it.

Statements are those of the paper's page (abstract, captions). Where a word needs a number ("near", "often",
"competitive"), the number is ours and is given here. A rule splits a claim into *checks*, one per comparison;
`verdicts` decides the checks from the runs and combines them.

A check compares two cells, paired by (seed, question), by the wider bounds [low, high] of two 95 % intervals:
the bootstrap over seeds and questions, and Student's t over the means of the seeds. With fewer than MIN_SEEDS
shared seeds a check stays open.

- better:      yes if low > 0; no if high < margin (not better by anything that matters); else open.
- not_worse:   yes if low > -margin; no if high < -margin; else open.
- equivalent:  yes if low > -margin and high < margin, which are two one-sided tests at 2.5 % each; no if low > margin or
               high < -margin; else open.
- linear:      over pools of at least MIN_POOLS sizes, with the same number of picks: the slope of log seconds of `rank`
               against log rows, with its 95 % interval. yes if high < 1 + margin; no if low > 1 + margin; else open.
"""

from dataclasses import dataclass

MIN_SEEDS = 3
MIN_POOLS = 3
GSM8K, MT_BENCH, BBH = "gsm8k/exact_match", "mt_bench/all", "bbh/all"
RANK_TIME = "seconds/rank"
GIP = ("mp_ma", "mp_sc")
BUDGETS = (0.025, 0.05, 0.1, 0.2)
MODELS = ("qwen3_8b", "mistral_7b")


@dataclass(frozen=True)
class Claim:
    """A statement and its rule: every method against every reference, at every budget, for every model.

    Attributes:
        id: short name.
        statement: the claim in words.
        source: where the paper makes it.
        measure: a metric, a number that `result.json` gives of the subset (`subset/clean_share`), or RANK_TIME.
        test: better, not_worse, equivalent or linear.
        methods: selectors the claim is about.
        references: selectors they are compared with.
        margin: in the unit of the measure (0.02 is 2 points of accuracy).
        share: part of the checks that must be yes (1.0: all).
        budgets: shares of the pool; empty for all that the runs have.
        models: model names; empty for all that the runs have.
        experiments: experiment names; "" for any.
    """

    id: str
    statement: str
    source: str
    measure: str
    test: str  # better, not_worse, equivalent or linear
    methods: tuple[str, ...]
    references: tuple[str, ...]
    margin: float
    share: float = 1.0
    budgets: tuple[float, ...] = ()
    models: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ("",)

    @property
    def rule(self) -> str:
        """The rule in words, for a reader of the report."""
        points = 100 * self.margin
        unit = f"{points:.3g} {'point' if points == 1 else 'points'}"
        if self.measure == MT_BENCH:
            unit = f"{self.margin:.3g} of MT-Bench's 10"
        if self.measure == "subset/skill_entropy":
            unit = f"{self.margin:.3g} nats"
        what = {
            "better": f"better (a gain below {unit} counts as none)",
            "not_worse": f"not worse by more than {unit}",
            "equivalent": f"neither better nor worse by more than {unit} (two one-sided tests)",
            "linear": f"seconds grow as the rows of the pool to a power of at most {1 + self.margin:g}, picks being equal",
        }[self.test]
        often = (
            "in every comparison"
            if self.share == 1
            else f"in at least {100 * self.share:.0f} % of the comparisons"
        )
        return f"{what}, {often}"


CLAIMS = (
    Claim(
        "better-than-random",
        "MP+MA and MP+SC are often better than random selection",
        "Figure 1",
        GSM8K,
        "better",
        GIP,
        ("random",),
        margin=0.01,
        share=0.5,
        budgets=BUDGETS,
        models=MODELS,
    ),
    Claim(
        "better-than-disf",
        "MP+MA and MP+SC are often better than DISF",
        "Figure 1",
        GSM8K,
        "better",
        GIP,
        ("disf",),
        margin=0.01,
        share=0.5,
        budgets=BUDGETS,
        models=MODELS,
    ),
    Claim(
        "better-than-less",
        "MP+MA and MP+SC are often better than LESS",
        "Figure 1",
        GSM8K,
        "better",
        GIP,
        ("less",),
        margin=0.01,
        share=0.5,
        budgets=BUDGETS,
        models=MODELS,
    ),
    Claim(
        "competitive",
        "MP+MA and MP+SC are competitive with the strong baselines (DSIR, DISF, LESS)",
        "Figure 1",
        GSM8K,
        "not_worse",
        GIP,
        ("dsir", "disf", "less"),
        margin=0.02,
        budgets=BUDGETS,
        models=MODELS,
    ),
    Claim(
        "near-full",
        "At 10 and 20 % of the data MP+MA and MP+SC come near the full data",
        "Figure 1",
        GSM8K,
        "not_worse",
        GIP,
        ("full",),
        margin=0.02,
        budgets=(0.1, 0.2),
        models=MODELS,
    ),
    Claim(
        "mt-bench-one-percent",
        "On MT-Bench 1 % of Alpaca chosen by MP+SC matches all of it, cleaned or not (our reading)",
        "Figure 2",
        MT_BENCH,
        "equivalent",
        ("mp_sc",),
        ("full",),
        margin=0.2,
        budgets=(0.01,),
        models=("mistral_7b",),
        experiments=("alpaca_mistral", "alpaca_cleaned_mistral"),
    ),
    Claim(
        "quality-of-subset",
        "One objective brings quality: MP+MA's subset is cleaner than a random one",
        "Abstract",
        "subset/clean_share",
        "better",
        ("mp_ma",),
        ("random",),
        margin=0.01,
    ),
    Claim(
        "diversity-of-subset",
        "One objective brings diversity as well: MP+MA's clean rows cover the skills as a random subset's do",
        "Abstract",
        "subset/skill_entropy",
        "not_worse",
        ("mp_ma",),
        ("random",),
        margin=0.05,
    ),
    Claim(
        "bbh-two-percent",
        "On BBH, 2 % of Alpaca chosen by MP+SC or MP+MA is above random and every baseline (Qwen3-8B)",
        "Reviews",
        BBH,
        "better",
        GIP,
        ("random", "dsir", "disf", "less"),
        margin=0.01,
        budgets=(0.02,),
        models=("qwen3_8b",),
        experiments=("alpaca_qwen",),
    ),
    Claim(
        "mt-bench-like-random",
        "On MT-Bench, 2 % of Alpaca chosen by MP+SC or MP+MA does as random selection does (Qwen3-8B, Mistral-7B)",
        "Reviews",
        MT_BENCH,
        "equivalent",
        GIP,
        ("random",),
        margin=0.2,
        budgets=(0.02,),
        models=MODELS,
    ),
    Claim(
        "mt-bench-random-not-worse",
        "On MT-Bench, random 2 % of Alpaca equals or beats MP+SC and MP+MA (Qwen3-4B)",
        "Reviews",
        MT_BENCH,
        "not_worse",
        ("random",),
        GIP,
        margin=0.2,
        budgets=(0.02,),
        models=("qwen3_4b",),
    ),
    Claim(
        "random-like-full-mt-bench",
        "On MT-Bench, random 2 % of Alpaca matches or beats all of it, for three models",
        "Reviews",
        MT_BENCH,
        "not_worse",
        ("random",),
        ("full",),
        margin=0.2,
        budgets=(0.02,),
        models=("qwen3_8b", "mistral_7b", "qwen3_4b"),
    ),
    Claim(
        "random-like-full-bbh",
        "On BBH, random 2 % of Alpaca matches or beats all of it (Mistral-7B)",
        "Reviews",
        BBH,
        "not_worse",
        ("random",),
        ("full",),
        margin=0.01,
        budgets=(0.02,),
        models=("mistral_7b",),
    ),
    Claim(
        "linear-time",
        "The time of a selection grows nearly linearly with the pool",
        "Reviews",
        RANK_TIME,
        "linear",
        GIP,
        (),
        margin=0.2,
    ),
)
