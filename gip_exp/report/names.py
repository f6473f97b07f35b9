"""Names and order of methods, models, metrics and stages, and the colour of each method.

Colours are from the colour-blind safe sets of Okabe and Ito and of Paul Tol, without the yellows that vanish in
print. Every method also has its own marker, so that figures can be read without colour.
"""

from dataclasses import dataclass
from zlib import crc32

UNTUNED = "untuned"  # the base with train=none, for any selector
FULL, RANDOM = "full", "random"


@dataclass(frozen=True)
class Look:
    """A method's display name, colour (hex), marker and line style (matplotlib's names)."""

    label: str
    colour: str
    marker: str
    line: str = "-"


# The order of every table, legend and heat map.
METHODS: dict[str, Look] = {
    "mp_ma": Look("MP+MA", "#0072B2", "o"),
    "mp_sc": Look("MP+SC", "#D55E00", "s"),
    "mp_ma_sc": Look("MP+MA+SC", "#AA3377", "h"),
    "omp_ma": Look("OMP+MA", "#44AA99", "p"),
    "omp_sc": Look("OMP+SC", "#AA7744", "h"),
    "logdet_ma": Look("Log-det+MA", "#999933", "H"),
    "logdet_sc": Look("Log-det+SC", "#777711", "8"),
    "dsir": Look("DSIR", "#009E73", "^"),
    "disf": Look("DISF", "#CC79A7", "v"),
    "less": Look("LESS", "#E69F00", "D"),
    "rds_plus": Look("RDS+", "#6699CC", "1"),
    "mp_target": Look("MP+target", "#994455", "2"),
    "qdit": Look("QDIT", "#997700", "3"),
    "top_score": Look("Top score", "#56B4E9", "P"),
    "gate_random": Look("Gate + random", "#882255", "X"),
    "distinct_random": Look("Distinct random", "#225522", "4"),
    "longest": Look("Longest", "#7A4988", "+"),
    "k_center": Look("k-center", "#117733", "<"),
    "k_means": Look("k-means", "#AA4499", ">"),
    "facility_location": Look("Facility location", "#661100", "d"),
    "dpp": Look("DPP", "#332288", "*"),
    RANDOM: Look("Random", "#6B6B6B", "o", "--"),
    FULL: Look("Full data", "#000000", "_", ":"),
    UNTUNED: Look("Base, not tuned", "#A0A0A0", "x", ":"),
}
# For selectors that are not listed: chosen by name, so that a method has the same colour in every report.
_SPARE = ("#6699CC", "#994455", "#997700", "#225522", "#7A4988", "#A25F2A")
_SPARE_MARKERS = ("1", "2", "3", "4", "+", ".")

MODELS = {
    "qwen3_8b": "Qwen3-8B",
    "qwen3_4b": "Qwen3-4B",
    "mistral_7b": "Mistral-7B",
    "smollm2_135m": "SmolLM2-135M",
    "tiny_arithmetic": "tiny arithmetic model",
    "tiny": "tiny model",
}

METRICS = {
    "gsm8k/exact_match": "GSM8K exact match",
    "gsm8k/flexible_match": "GSM8K flexible match",
    "mt_bench/all": "MT-Bench score",
    "mt_bench/turn_1": "MT-Bench, first turn",
    "mt_bench/turn_2": "MT-Bench, second turn",
    "bbh/all": "BBH exact match",
    "answer_nll/completion": "NLL per answer token",
    "answer_nll/numbers": "NLL per number token",
}
# The headline metric of an experiment: the first of these that it has.
HEADLINES = ("gsm8k/exact_match", "mt_bench/all", "bbh/all", "answer_nll/completion")
MT_BENCH = "mt_bench/"
# In MT-Bench's own order of categories.
CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
# Stages in the order in which they run, with fills for bars (Tol's light set), paler than the methods' colours.
STAGES = {
    "data": "#DDDDDD",
    "contamination": "#C4B49A",
    "base": "#AAAA00",
    "score": "#77AADD",
    "embed": "#99DDFF",
    "warmup": "#FFAABB",
    "gradients": "#EE8866",
    "rank": "#44BB99",
    "select": "#BBCC33",
    "describe": "#CC99BB",
    "train": "#EEDD88",
    "evaluate": "#A7A0C8",
}


def look(method: str) -> Look:
    """Return the look of a selector; an unlisted one gets its own name and a colour that depends on the name only.

    What is unusual about a run stands behind its selector's name (`reselection.arm`).

    Example:
        >>> look("mp_ma").label, look("mp_ma_rounds3").label, look("my_method").label
        ('MP+MA', 'MP+MA rounds3', 'my method')
    """
    if method in METHODS:
        return METHODS[method]
    known = max((name for name in METHODS if method.startswith(f"{name}_")), key=len, default="")
    label = METHODS[known].label if known else ""
    rest = method.removeprefix(known).strip("_").replace("_", " ")
    spare = crc32(method.encode()) % len(_SPARE)
    return Look(f"{label} {rest}".strip(), _SPARE[spare], _SPARE_MARKERS[spare], "-.")


def method_order(method: str) -> tuple[int, str]:
    """Sort key: the order of METHODS, unlisted selectors before random, full and the base."""
    known = list(METHODS)
    return (known.index(method), method) if method in METHODS else (known.index(RANDOM), method)


def stage_colour(name: str) -> str:
    """Return the fill of a stage; grey for one that is not listed."""
    return STAGES.get(name, "#BBBBBB")


def stage_order(name: str) -> tuple[int, str]:
    """Sort key: the order in which stages run (`score/mixture` with `score`), unlisted ones last."""
    stage = name.partition("/")[0]
    return (list(STAGES).index(stage) if stage in STAGES else len(STAGES), name)


def model_order(name: str) -> tuple[int, str]:
    """Sort key: the order of MODELS, then by name."""
    return (list(MODELS).index(name) if name in MODELS else len(MODELS), name)


def model(name: str) -> str:
    """Return the display name of a model."""
    return MODELS.get(name, name)


def metric(name: str) -> str:
    """Return the display name of a metric; settings in brackets (`gsm8k/exact_match [shots=5]`) are kept."""
    plain, bracket, rest = name.partition(" [")
    if plain in METRICS:
        shown = METRICS[plain]
    elif plain.startswith(MT_BENCH):
        shown = f"MT-Bench, {plain.removeprefix(MT_BENCH)}"
    elif plain.startswith("bbh/"):
        shown = f"BBH, {plain.removeprefix('bbh/').replace('_', ' ')}"
    else:
        shown = plain
    return shown + bracket + rest


def metric_order(name: str) -> tuple[int, int, str]:
    """Sort key: headlines first, then the other named metrics, then the rest."""
    plain = name.partition(" [")[0]
    ordered = [*HEADLINES, *(known for known in METRICS if known not in HEADLINES)]
    categories = [MT_BENCH + category for category in CATEGORIES]
    if plain in ordered:
        return ordered.index(plain), 0, name
    return len(ordered), categories.index(plain) if plain in categories else len(categories), name


def is_part(name: str) -> bool:
    """Return whether a metric is one part of a benchmark (category, task, turn) that also has an overall metric."""
    plain = name.partition(" [")[0]
    return plain.startswith((MT_BENCH, "bbh/")) and not plain.endswith("/all")


def part(name: str) -> str:
    """Return the short name of a part: `writing`, `turn 1`, `date understanding`."""
    return name.partition("/")[2].replace("_", " ")


def lower_is_better(metric_name: str) -> bool:
    """Return whether smaller values of a metric are better."""
    return "nll" in metric_name.partition("/")[0]
