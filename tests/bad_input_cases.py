"""Bad-input cases picked by hand: what people type, point at and leave out."""

# A table: one case a line, however long.
# fmt: off
# ruff: noqa: E501

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from bad_input_files import GOOD_ROW, Call, Case, Prepare, Templates, copied

QUICK, OWN, CPU = "+experiment=quickstart", "+experiment=own_data", "+experiment=gsm8k_cpu"
MINE = "data.path={work}/mine.jsonl"
TEN = GOOD_ROW * 10
VARIED = "".join(f'{{"question": "What is {n} + {n * n}?", "answer": "It is {n + n * n}.", "length": 7}}\n' for n in range(20))
ROWS, STATES = "outputs/store/data/", "plan/states/"  # finished rows stay; a plan notes how its runs ended
FAILED = "outputs/"  # what only computing can find: finished stages stay, and the run's folder says why it failed
PLAN, STATUS, REPORT, ABLATIONS = "gip_exp.plan", "gip_exp.status", "gip_exp.report", "gip_exp.ablations"
SUBMIT = "gip_exp.cli.submit"


def case(cause: str, arguments: str, *says: str, **more: Any) -> Case:
    """A case whose arguments hold no spaces."""
    return Case(cause, tuple(arguments.split()), says, **more)


def rows(cause: str, content: str | bytes, *says: str, name: str = "mine.jsonl", extra: str = "", keeps: str = "") -> Case:
    """A case of own_data on one file."""
    arguments = (OWN, f"data.path={{work}}/{name}", *extra.split())
    return Case(cause, arguments, (name, *says), files={name: content}, keeps=keeps)


COMMAND_LINE = [
    case("a misspelt choice", f"{QUICK} selector=mp_mma", "selector/mp_mma", "mp_ma"),
    case("a misspelt choice", "+experiment=quikstart", "experiment/quikstart", "quickstart"),
    case("a misspelt choice", f"{QUICK} embedder=tf-idf", "embedder/tf-idf", "tfidf"),
    case("a misspelt choice", f"{QUICK} judge=rule", "judge/rule", "rules"),
    case("a misspelt choice", f"{QUICK} model=qwen3-8b", "model/qwen3-8b", "qwen3_8b"),
    case("a misspelt choice", f"{QUICK} evaluation=[gsm9k]", "evaluation/gsm9k", "--help"),
    case("a misspelt choice", f"{QUICK} evaluation=mtbench", "evaluation/mtbench", "mt_bench"),
    case("a misspelt choice", f"{QUICK} tracking=wanddb", "tracking/wanddb", "wandb"),
    case("a choice that does not exist", f"{QUICK} selector=magic", "selector/magic", "mp_ma"),
    case("a choice that does not exist", f"{QUICK} hydra/launcher=slrm", "hydra/launcher/slrm", "slurm"),
    case("a misspelt group", f"{QUICK} selectr=mp_ma", "selectr=mp_ma", "did you mean selector?"),
    case("a misspelt group", f"{QUICK} +sweeep=figure1", "sweeep", "did you mean sweep?"),
    case("a misspelt key", f"{QUICK} budgett=0.1", "budgett", "did you mean budget?"),
    case("a misspelt key", f"{QUICK} train.learning_rate=1", "train.learning_rate", "check its spelling"),
    case("a key in the wrong place", f"{QUICK} lr=1e-4", "lr=1e-4", "did you mean", "train.lr"),
    case("a key in the wrong place", f"{QUICK} ridge=1", "did you mean", "selector.ridge"),
    case("a key in the wrong place", f"{QUICK} path=x", "did you mean", "data.path"),
    case("a key of another choice", f"{QUICK} data.path=x", "data.path", "data=own"),
    case("a key of another choice", f"{QUICK} +data.path=x", "data.path", "data=own"),
    case("a key of another choice", f"{QUICK} selector=random selector.ridge=1", "selector.ridge", "selector=mp_ma"),
    case("a key of another choice", f"{QUICK} judge.model=gpt-4o", "judge.model", "judge=openai"),
    case("a key of another choice", f"{QUICK} evaluation.bbh.limit=5", "evaluation.bbh.limit", "evaluation=[bbh]"),
    case("a plus too few", "experiment=quickstart", "+experiment=quickstart"),
    case("a plus too few", "sweep=figure1", "+sweep=figure1"),
    case("a plus too many", f"{QUICK} +budget=0.2", "budget", "remove + prefix"),
    case("a plus too many", f"{QUICK} ++experiment=gsm8k_cpu", "force-add of config groups", "++experiment=gsm8k_cpu"),
    case("dashes before a key", "--experiment=quickstart", "+experiment=quickstart"),
    case("dashes before a key", f"{QUICK} --budget=0.1", "write budget=0.1"),
    case("dashes before a key", f"{QUICK} --budget 0.1", "write budget="),
    case("dashes before a key", f"{QUICK} --data.path=x", "write data.path=x"),
    case("an unknown option", f"{QUICK} --fast", "--fast"),
    case("an unknown option", "--cfg jobb", "jobb", "choose from"),
    case("an argument that is no key=value", "quickstart", "'quickstart'", "+experiment=quickstart"),
    case("an argument that is no key=value", f"{QUICK} budget 0.1", "'budget'", "key=value"),
    case("an argument that is no key=value", "+experiment", "'+experiment'", "+experiment=quickstart"),
    case("an argument that is no key=value", f"{QUICK} budget:0.1", "budget:0.1", "key=value"),
    case("a value that must be quoted", f"{QUICK} budget=[1", "'budget=[1'", "quote"),
    case("a value that must be quoted", f"{OWN} data.path=(my)rows.jsonl", "data.path=(my)rows.jsonl", "quote"),
    Case("a value that must be quoted", (OWN, "data.path=/my data/a=b.jsonl"), ("a=b.jsonl", "quote")),
    case("a choice left empty", f"{QUICK} selector=", "selector/", "mp_ma"),
    case("a choice left empty", f"{QUICK} target=null", "Config group override must be a string"),
    case("a section taken out", f"{QUICK} ~train", "train is missing"),
    case("a section taken out", f"{QUICK} ~data.n", "data.n is missing"),
    case("a section that is no mapping", f"{QUICK} ++paths=outputs", "paths"),
    case("several values without -m", f"{QUICK} seed=0,1", "seed=0,1", "-m"),
    case("several values without -m", f"{QUICK} selector=mp_ma,random", "selector=mp_ma,random", "-m"),
    case("another primary config", f"{QUICK} --config-name=mine", "config 'mine'"),
    case("a config folder that is not there", f"{QUICK} --config-dir=/no/such", "/no/such"),
    case("an experiment twice", f"{QUICK} +experiment=gsm8k_cpu", "experiment"),
    case("a secret on the command line", f"{QUICK} judge=openai +judge.api_key=abc123", "judge.api_key", "OPENAI_API_KEY"),
    case("a secret on the command line", f"{QUICK} judge=openai judge.base_url=http://me:pw1@h/v1", "judge.base_url"),
    case("a sweep with a bad choice", f"-m {QUICK} selector=random,magic", "selector/magic"),
    case("a sweep with a bad value", f"-m {QUICK} budget=0,2.5", "budget=0", "budget=2.5"),
    case("a sweep with a bad value", f"-m {QUICK} train.lr=-1,-2", "train.lr=-1", "train.lr=-2"),
    case("a sweep of an unknown key", f"-m {QUICK} sead=0,1", "sead", "did you mean seed?"),
    case("a sweep into a place that cannot be", f"-m {QUICK} seed=0,1 paths.root=/proc/x", "paths.root"),
    case("a sweep that is none", f"{QUICK} +sweep=figure3", "sweep/figure3", "figure1"),
]
BUDGETS = [
    case("a budget that is none", f"{QUICK} budget={text}", f"budget={said}", "share")
    for text, said in {
        "10%": "'10%'", "10percent": "'10percent'", "0": "0", "-1": "-1", "1.5": "1.5", "0.0": "0.0", "-0.1": "-0.1",
        "nan": "nan", "inf": "inf", "true": "True", "null": "None", "all": "'all'", "[0.1,0.2]": "[0.1, 0.2]",
        "''": "''", "1/10": "'1/10'",
    }.items()
] + [
    case("a budget beyond the pool", f"{QUICK} budget=200000", "budget=200000", "at most 1872", keeps=ROWS),
    case("a budget beyond the pool", f"{OWN} {MINE} budget=30", "budget=30", "at most 20", files={"mine.jsonl": VARIED}, keeps=ROWS),
]  # fmt: skip
VALUES = [
    case("numbers that do not go together", f"{QUICK} train.micro_batch=5", "train.batch=16", "multiple of"),
    case("numbers that do not go together", f"{QUICK} train.processes=3", "train.batch=16", "train.processes=3"),
    case("numbers that do not go together", f"{QUICK} train.epochs=3", "exactly one of train.epochs and train.steps"),
    case("numbers that do not go together", f"{QUICK} train.steps=null", "exactly one of train.epochs and train.steps"),
    case("numbers that do not go together", f"{QUICK} model.scratch.heads=3", "model.scratch.heads=3"),
    case("numbers that do not go together", f"{QUICK} model.scratch.kv_heads=3", "model.scratch.kv_heads=3"),
    case("more tokens than the model holds", f"{QUICK} evaluation=gsm8k", "evaluation.gsm8k.max_new_tokens=512"),
    case("a length of zero", f"{QUICK} train.max_length=0", "train.max_length=0"),
    case("two sources of a model", f"{QUICK} model.path=/models/x", "exactly one of model.path"),
    case("no source of a model", f"{QUICK} model.scratch=null", "exactly one of model.path"),
    case("a template without the prompt", f"{QUICK} model.prompt.template=hello", "{prompt} exactly once"),
    case("a seed beyond its range", f"{QUICK} seed=-1", "seed=-1"),
    case("a seed beyond its range", f"{QUICK} seed=4294967296", "seed=4294967296"),
    case("a seed beyond its range", f"{QUICK} seed=1e30", "seed=1e+30"),
    case("a seed beyond its range", f"{QUICK} target.seed=99999999999999999999", "target.seed"),
    case("a stop at a stage that is not there", f"{QUICK} until=lunch", "until='lunch'", "'select'"),
    case("a stop at a stage that is not there", f"{QUICK} until=warmup", "until=warmup", "selector=less"),
    case("a stop at a stage that is not there", f"{QUICK} train=none until=train", "until=train"),
    case("a name that is a path", f"{QUICK} selector.name=a/b", "selector.name", "folder name"),
    Case("control characters in a name", (QUICK, "selector.name='a\tb'"), ("selector.name", "folder name")),
    Case("letters of another script in a name", (QUICK, "selector.name='выбор'"), ("selector.name", "folder name")),
    Case("letters of another script in a name", (QUICK, "selector.name=выбор"), ("selector.name", "quote")),
    case("a very long value", f"{QUICK} train.lr={'x' * 20_000}", "train.lr", "20,002 characters"),
    case("a very long name", f"{QUICK} selector.name={'e' * 300}", "selector.name", "at most 100"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.signals.judge=-1", "selector.signals.judge=-1"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.signals.judge=nan", "selector.signals.judge=nan"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture +selector.signals.taste=1", "'taste'", "judge, self_con"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.signals.taste=1", "+selector.signals.taste=1"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.signals={{judge:null,self_consistency:null}}", "selector.signals"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.signals={{taste:1}}", "+selector.signals.NAME=VALUE"),
    case("weights of a mixture", f"{QUICK} selector=mp_mixture selector.score_scaling=rms", "selector.score_scaling=rms"),
    case("a mixture in a selector without one", f"{QUICK} +selector.signals.judge=1", "selector=mp_mixture"),
    case(
        "a column that no judge gives",
        f"{QUICK} selector=mp_mixture ~selector.signals.judge +selector.signals.judge.acuracy=1.0 until=select",
        "selector.signals",
        "acuracy",
    ),
    case("a signal of another selector", f"{QUICK} selector.signal=gradient", "selector.signal='gradient'", "'judge'"),
    case("columns of metadata not named", f"{QUICK} selector=mp_metadata", "data.metadata"),
    case("a task of an evaluation that is none", f"{QUICK} evaluation=[bbh] evaluation.bbh.tasks=[snark]", "snark", "snarks"),
    case("a task of an evaluation that is none", f"{QUICK} evaluation=[bbh] evaluation.bbh.tasks=[]", "evaluation.bbh.tasks=[]"),
    case("modules that no model has", f"{QUICK} train.target_modules=[]", "train.target_modules"),
    case("several problems at once", f"{QUICK} train.lr=-1 seed=-2 until=lunch", "train.lr=-1", "seed=-2", "until='lunch'"),
]


def _parquet(cut: int | None, columns: Mapping[str, list[Any]] | None = None) -> Prepare:
    """A parquet file of ten rows, whole or its first `cut` bytes."""

    def prepare(folder: Path, _: Templates) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        values = columns or {"question": ["What is 2 + 3?"] * 10, "answer": ["5"] * 10}
        path = folder / "mine.parquet"
        pq.write_table(pa.table(dict(values)), path)
        if cut is not None:
            path.write_bytes(path.read_bytes()[:cut])

    return prepare


ZIP = b"PK\x03\x04" + bytes(range(256)) * 4
BAD_CELL = '{"question": "q", "answer": "a", "length": %s}\n'
DATA = [
    case("data that are not there", OWN, "data.path=FILE_OR_FOLDER"),
    case("data that are not there", f"{OWN} data.path=/no/such", "data.path=/no/such", "does not exist"),
    case("data that are not there", f"{OWN} data.path={{work}}/mine.jsnl", "mine.jsnl", "did you mean", files={"mine.jsonl": TEN}),
    Case("data that are not there", (OWN, "data.path=''"), ("data.path",)),
    case("data that are not there", "+experiment=gsm8k_cpu", "openai/gsm8k", "data.path=FILE_OR_FOLDER"),
    case("a file of another kind", f"{OWN} data.path={{work}}/mine.txt", "'.txt'", ".jsonl", files={"mine.txt": TEN}),
    case("a file of another kind", f"{OWN} data.path={{work}}/mine.xlsx", "'.xlsx'", files={"mine.xlsx": ZIP}),
    case("a file of another kind", f"{OWN} data.path={{work}}/mine", "mine", ".jsonl", files={"mine": TEN}),
    rows("an empty file", "", "has no rows"),
    rows("an empty file", "\n\n  \n", "has no rows"),
    rows("an empty file", "[]", "has no rows", name="mine.json"),
    rows("an empty file", "question,answer\n", "has no rows", name="mine.csv"),
    rows("an empty file", b"", "parquet", name="mine.parquet"),
    rows("text that is not UTF-8", TEN.encode() + b'{"question": "caf\xe9"}\n', "UTF-8"),
    rows("text that is not UTF-8", b"question,answer\nq,caf\xe9\n", "UTF-8", name="mine.csv"),
    rows("a zip file with another name", ZIP, "not UTF-8"),
    rows("a zip file with another name", ZIP, "parquet", name="mine.parquet"),
    rows("a zip file with another name", ZIP, "UTF-8", name="mine.csv"),
    rows("a file cut short", TEN + GOOD_ROW[:30], "line 11", "not JSON"),
    rows("a file cut short", f"[{GOOD_ROW},", "not JSON", name="mine.json"),
    case("a file cut short", f"{OWN} data.path={{work}}/mine.parquet", "mine.parquet", "parquet", more=_parquet(100)),
    rows("rows that are no objects", TEN + "[1, 2]\n", "line 11", "must be an object"),
    rows("rows that are no objects", TEN + '"text"\n', "line 11", "must be an object"),
    rows("rows that are no JSON", TEN + "{'question': 'q'}\n", "line 11", "not JSON"),
    rows("rows that are no JSON", "question: q\n" * 20, "20 broken rows", "line 1", "and 10 more"),
    rows("rows nested too deep", "[" * 100_000 + "\n", "nested too deeply"),
    rows("a column that is missing", TEN + '{"question": "q"}\n', "line 11", "'answer' is missing"),
    rows("a column that is missing", TEN + '{"question": "q", "answer": null}\n', "line 11", "completion is empty", extra="data.drop_empty=false"),
    rows("a column that is missing", "question,answer\nq,a\nq\n", "line 3", "completion", name="mine.csv", extra="data.drop_empty=false"),
    rows("columns of no known shape", '{"q": "x", "a": "y"}\n', "question/answer", "'q', 'a'"),
    rows("several columns of turns", '{"a": [{"role": "user", "content": "q"}], "b": [{"role": "user", "content": "q"}]}\n', "data.columns.conversation=COLUMN"),
    rows("tools that are none", TEN + '{"question": "q", "answer": "a", "tools": "add"}\n', "line 11", "the column of tools"),
    case("the same split twice", f"{OWN} data.path={{work}}/d", "train.json, train.jsonl", "remove all but one", files={"d/train.json": TEN, "d/train.jsonl": TEN}),
    case("shards that are missing", f"{OWN} data.path={{work}}/d", "train-00001-of-00002", "data.allow_missing_shards=true", files={"d/train-00000-of-00002.jsonl": TEN}),
    rows("columns of no known shape", "a;b\n1;2\n", "fit no known shape", name="mine.csv"),
    rows("columns of several shapes", '{"question": "q", "answer": "a", "prompt": "p", "completion": "c"}\n', "data.shape"),
    rows("a shape that the rows do not have", TEN, "data.shape=instruction", extra="data.shape=instruction"),
    rows("a cell that is no text", TEN + '{"question": "q", "answer": {"a": 5}}\n', "line 11", "must be text"),
    rows("a cell that is no text", TEN + '{"question": ["q"], "answer": "a"}\n', "line 11", "must be text"),
    rows("an empty cell", TEN + '{"question": "  ", "answer": "a"}\n', "line 11", "is empty"),
    rows("an empty cell", TEN + '{"question": "q", "answer": ""}\n', "line 11", "is empty", extra="data.drop_empty=false"),
    rows("an empty cell", TEN + '{"question": "q", "answer": ""}\n' * 11, "line 11", "is empty in 11 of 21 rows"),
    rows("half a surrogate pair", TEN + '{"question": "q \\ud83d", "answer": "a"}\n', "line 11", "surrogate"),
    rows("messages that are no turns", '{"messages": "hello"}\n', "line 1", "messages"),
    rows("messages that are no turns", '{"messages": []}\n', "line 1", "messages"),
    rows("messages that are no turns", '{"messages": [{"role": "assistant", "content": "a"}]}\n', "line 1", "user"),
    rows("too few rows", GOOD_ROW, "row", keeps=FAILED),
    rows("a number that is none", BAD_CELL % '"long"' * 20, "'length'", "no column in data.metadata is numeric", "give a numeric column", extra="selector=mp_metadata data.metadata=[length]", keeps=FAILED),
    *(
        rows("a number that is none", BAD_CELL % cell * 20, "'length'", said, extra="selector=mp_metadata data.metadata=[length]", keeps=ROWS)
        for cell, said in {"NaN": "is empty in every row", "null": "is empty in every row"}.items()
    ),
    rows("a column of metadata that is not there", TEN, "'size'", "does not exist: the rows have 'question', 'answer'", extra="selector=mp_metadata data.metadata=[size]", keeps=ROWS),
    rows("a column of metadata that is constant", VARIED, "length", "same for every row", extra="selector=mp_metadata data.metadata=[length]", keeps=FAILED),
    case(
        "a bad row among the test rows",
        f"{OWN} data.path={{work}}/d",
        "test rows",
        "line 2",
        files={"d/train.jsonl": TEN, "d/test.jsonl": GOOD_ROW + '{"question": "q"}\n'},
    ),
    case(
        "no test rows to evaluate on",
        f"{CPU} {MINE}",
        "test",
        "evaluation",
        files={"mine.jsonl": TEN * 30},
        keeps=ROWS,
    ),
    case("a folder in a file's place", f"{OWN} data.path={{work}}/d", "train.jsonl", files={"d/train.jsonl/x": ""}),
]
JUDGES = [
    case("a judge without a key", f"{QUICK} judge=openai", "judge", "OPENAI_API_KEY"),
    case("a judge without a key", f"{QUICK} judge=openai", "OPENAI_API_KEY", environment={"OPENAI_API_KEY": ""}),
    case("a judge without a key", f"{QUICK} judge=openai judge.provider=azure", "judge.base_url", "azure"),
    case("a judge without a key", f"{QUICK} evaluation=[mt_bench]", "evaluation.mt_bench.judge", "OPENAI_API_KEY"),
    case("a sampler without a key", f"{QUICK} selector=mp_self_consistency sampler=openai sampler.model=m", "sampler", "OPENAI_API_KEY"),
    case("an embedder without a key", f"{QUICK} embedder=openai", "OPENAI_API_KEY", "embedder"),
    case("an embedder whose server only the environment names", f"{QUICK} embedder=openai", "OPENAI_BASE_URL", "embedder.base_url",
         environment={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "k"}),
    case("a sampler without a model", f"{QUICK} sampler=openai", "sampler.model is missing"),
    *(
        case("an address that is none", f"{QUICK} judge=openai judge.base_url={url}", "judge.base_url")
        for url in ("localhost:8000", "ftp://h/v1", "http://", "8000", "'http://h:port/v1'", "'http://[::1/v1'")
    ),
    case("an address where nobody answers", f"{QUICK} judge=openai judge.base_url=http://127.0.0.1:9/v1", "judge.base_url", "127.0.0.1:9"),
    case("an address where nobody answers", f"{QUICK} embedder=openai embedder.base_url=http://127.0.0.1:9/v1", "embedder.base_url"),
    case(
        "an address where nobody answers",
        f"{QUICK} selector=mp_self_consistency sampler=openai sampler.model=m sampler.base_url=http://127.0.0.1:9/v1",
        "sampler.base_url",
    ),
    case("a rubric without attributes", f"{QUICK} judge=openai judge.base_url=http://127.0.0.1:9/v1 rubric.attributes=[]", "rubric", "attributes"),
    case(
        "an attribute twice",
        f"{QUICK} judge=openai judge.base_url=http://127.0.0.1:9/v1 rubric.attributes=[{{name:a,question:q,anchors:[1,2,3,4,5]}},{{name:a,question:q,anchors:[1,2,3,4,5]}}]",
        "'a' appears twice",
    ),
    case(
        "an attribute without anchors",
        f"{QUICK} judge=openai judge.base_url=http://127.0.0.1:9/v1 rubric.attributes=[{{name:a,question:q}}]",
        "attributes[0].anchors",
        "5 texts",
    ),
    case(
        "an attribute with a name that is none",
        f"{QUICK} judge=openai judge.base_url=http://127.0.0.1:9/v1 rubric.attributes=[{{name:'My name',question:q,anchors:[1,2,3,4,5]}}]".replace("'My name'", "MY-NAME"),
        "attributes[0].name",
        "lower-case",
    ),
    case("prices that are none", f"{QUICK} judge=openai judge.prices.gpt-4o.input=-1", "judge.prices"),
    case("prices that are none", f"{QUICK} judge=openai judge.prices.gpt-4o.input=cheap", "judge.prices.gpt-4o.input"),
    case("prices that are none", f"{QUICK} judge=openai +judge.prices.m.inputs=1", "judge.prices.m"),
    case("a temperature beyond its range", f"{QUICK} judge=openai judge.temperature=3", "judge.temperature=3"),
    case("a limit of money of zero", f"{QUICK} judge=openai judge.max_cost_usd=0", "judge.max_cost_usd=0"),
    case("a secret in the body of requests", f"{QUICK} judge=openai +judge.extra_body.api_key=abc123", "judge.extra_body.api_key"),
    case("votes where repeats are meant", f"{QUICK} evaluation=[mt_bench] evaluation.mt_bench.judge.votes=3", "evaluation.mt_bench.repeats"),
    case("an estimate where none can be", f"{QUICK} evaluation=[mt_bench] evaluation.mt_bench.judge.dry_run=true", "dry_run"),
    case("a judge for vLLM that is no model", f"{QUICK} judge=vllm judge.model=/no/such", "judge.model=/no/such"),
    case("files of MT-Bench that are not there", f"{QUICK} evaluation=[mt_bench] evaluation.mt_bench.data_dir=/no/such", "evaluation.mt_bench.data_dir", "/no/such"),
    case("files of MT-Bench that are not there", f"{QUICK} evaluation=[mt_bench] evaluation.mt_bench.data_dir={{work}}/mt", "evaluation.mt_bench.data_dir", "question.jsonl", files={"mt/x": ""}),
    case("files of MT-Bench that are others", f"{QUICK} evaluation=[mt_bench] evaluation.mt_bench.data_dir={{work}}/mt", "question.jsonl", files={f"mt/{name}": "{}\n" for name in ("question.jsonl", "judge_prompts.jsonl", "gpt-4.jsonl")}),
    case("files of BBH that are not there", f"{QUICK} evaluation=[bbh] evaluation.bbh.data_dir=/no/such", "evaluation.bbh.data_dir"),
    case("files of BBH that are not there", f"{QUICK} evaluation=[bbh] evaluation.bbh.data_dir={{work}}/b", "snarks.json", files={"b/x": ""}),
    case("files of BBH that are broken", f"{QUICK} evaluation=[bbh] evaluation.bbh.tasks=[snarks] evaluation.bbh.data_dir={{work}}/b", "snarks.json", files={"b/snarks.json": "{"}),
    case("files of BBH that are broken", f"{QUICK} evaluation=[bbh] evaluation.bbh.tasks=[snarks] evaluation.bbh.data_dir={{work}}/b", "snarks", files={"b/snarks.json": '{"examples": []}'}),
]


def _without(name: str) -> Prepare:
    return copied("model", "m", lambda folder: (folder / name).unlink())


def _with(name: str, content: str | bytes) -> Prepare:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return copied("model", "m", damage)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-20])


def _one_shard_missing(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


GIVEN = f"{QUICK} model.path={{work}}/m model.scratch=null"
MODELS = [
    case("a model that is not there", f"{QUICK} model.path=/no/such model.scratch=null", "model.path=/no/such", "model folder"),
    case("a model that is not there", f"{QUICK} model.path=someone/nothing model.scratch=null", "someone/nothing", "model.path=DIR"),
    case("a model that is not there", f"{QUICK} model.path='' model.scratch=null", "model.path"),
    case("a folder that is no model", GIVEN, "model.path=", "config.json", files={"m/x": ""}),
    case("a file that is no model", GIVEN, "model.path=", "model folder", files={"m": "x"}),
    case("a model without weights", GIVEN, "model.path=", "safetensors", more=_without("model.safetensors")),
    case("a model without a tokenizer", GIVEN, "model.path=", "tokenizer", more=copied("model", "m", lambda folder: [path.unlink() for path in folder.glob("tokenizer*")] and None)),
    case("pickled weights", GIVEN, "model.path=", "safetensors", more=copied("model", "m", _pickled)),
    case("weights cut short", GIVEN, "model.path=", "model.safetensors", more=copied("model", "m", _cut)),
    case("weights cut short", GIVEN, "model.path=", "model-00002-of-00002.safetensors", more=copied("model", "m", _one_shard_missing)),
    case("weights that are none", GIVEN, "model.path=", "model.safetensors", more=_with("model.safetensors", "version https://git-lfs.github.com/spec/v1\n")),
    case("weights that are none", GIVEN, "model.path=", "model.safetensors", more=_with("model.safetensors", struct.pack("<Q", 2**62) + b"{}")),
    case("weights that are none", GIVEN, "model.path=", "model.safetensors", more=_with("model.safetensors", b"")),
    case("a model's config that is none", GIVEN, "model.path=", "config.json", more=_with("config.json", "{")),
    case("a model's config that is none", GIVEN, "model.path=", "config.json", more=_with("config.json", "[]")),
    case("an architecture nobody knows", GIVEN, "model.path=", "qwen99", more=_with("config.json", '{"model_type": "qwen99"}')),
    case("an architecture that does not write", GIVEN, "model.path=", "BertModel", more=_with("config.json", '{"model_type": "bert", "architectures": ["BertModel"]}')),
    case("an adapter in a model's place", GIVEN, "model.path=", "adapter", files={"m/adapter_config.json": "{}", "m/adapter_model.safetensors": ""}),
    case("a chat model without a template", f"{GIVEN} model.prompt.style=chat", "model.prompt.style", "template", more=_with("tokenizer_config.json", "{}")),
    case("an encoder that is not there", f"{QUICK} embedder=sentence_transformer embedder.model=/no/such", "embedder.model=/no/such"),
    case("an encoder that is not there", f"{QUICK} embedder=sentence_transformer", "all-MiniLM-L6-v2", "embedder.model"),
    case("a GPU that is not there", f"{QUICK} engine.device=cuda", "engine.device=cuda"),
    case("a GPU that is not there", f"{QUICK} train.attention=flash_attention_2", "train.attention"),
    case("a GPU that is not there", f"{QUICK} train.packing=true", "train.packing=true"),
    case("a GPU that is not there", f"{CPU} data.path={{work}}/d model=qwen3_8b", "billion parameters", files={"d/train.jsonl": TEN, "d/test.jsonl": TEN}),
    case("a rank that vLLM cannot serve", f"{QUICK} engine=vllm train.r=1024", "train.r=1024", "up to rank 512"),
    case("a model without room", f"{QUICK} engine=vllm engine.max_model_len=64", "engine.max_model_len=64"),
    case("LESS without training", f"{QUICK} selector=less train=none", "train"),
    case("LESS without rows to aim at", f"{QUICK} selector=less target.n=0", "target.n=0"),
    case("DSIR without rows to aim at", f"{QUICK} selector=dsir target.n=0", "target.n=0"),
    case("part of a distributed run", QUICK, "train.processes=2", environment={"WORLD_SIZE": "2", "RANK": "0"}),
]
PLACES = [
    case("a root that is a file", f"{QUICK} paths.root={{work}}/f", "paths.root", "choose", files={"f": ""}),
    case("a root that is a file", f"{QUICK} paths.root={{work}}/f/x", "paths.root", "choose", files={"f": ""}),
    case("a root that cannot be made", f"{QUICK} paths.root=/proc/x", "paths.root=/proc/x", "choose"),
    Case("a root that is empty", (QUICK, "paths.root=''"), ("paths.root",)),
    case("a root with too long a name", f"{QUICK} paths.root={{work}}/{'r' * 300}", "paths.root", "choose"),
    case("W&B in a mode that is none", f"{QUICK} tracking=wandb", "WANDB_MODE='foo'", "offline", environment={"WANDB_MODE": "foo"}),
    case("W&B without a project", f"{QUICK} tracking=wandb tracking.project=a/b", "tracking.project", environment={"WANDB_MODE": "offline"}),
    case("an address of the hub that is none", CPU, "HF_ENDPOINT", environment={"HF_ENDPOINT": "nonsense", "HF_HUB_OFFLINE": "0"}),
    case("threads that are no number", f"{QUICK} train.lr=-1", "train.lr=-1", environment={"OMP_NUM_THREADS": "abc"}, fresh=True),
    case("processes that are no number", QUICK, "WORLD_SIZE='two'", environment={"WORLD_SIZE": "two"}),
]


def _edited(text: str, by: str) -> Prepare:
    """The template's plan with `text` replaced in its first run."""

    def damage(folder: Path) -> None:
        path = folder / "runs" / "000.yaml"
        content = path.read_text()
        assert text in content
        path.write_text(content.replace(text, by))

    return copied("plan", "plan", damage)


def _cell(content: str | bytes | None) -> Prepare:
    def damage(folder: Path) -> None:
        path = folder / "runs" / "000.yaml"
        path.unlink() if content is None else path.write_bytes(content.encode() if isinstance(content, str) else content)

    return copied("plan", "plan", damage)


def _plan_file(content: str | None) -> Prepare:
    def damage(folder: Path) -> None:
        path = folder / "plan.json"
        path.unlink() if content is None else path.write_text(content)

    return copied("plan", "plan", damage)


PLANNED = "--planned {work}/plan/runs/000.yaml"
PLANS = [
    case("a run that is not named", "--planned", "--planned DIR/runs/000.yaml"),
    case("a run that is not there", "--planned /no/such.yaml", "/no/such.yaml"),
    case("a run that is not there", PLANNED, "000.yaml", more=_cell(None), keeps=STATES),
    case("a plan's folder in a run's place", "--planned {work}/plan", "plan", more=copied("plan", "plan")),
    case("a run that is no config", PLANNED, "000.yaml", more=_cell(""), keeps=STATES),
    case("a run that is no config", PLANNED, "000.yaml", more=_cell("- 1\n- 2\n"), keeps=STATES),
    case("a run that is no config", PLANNED, "000.yaml", more=_cell("{a: [\n"), keeps=STATES),
    case("a run that is no config", PLANNED, "000.yaml", more=_cell("text"), keeps=STATES),
    case("a run that is no config", PLANNED, "000.yaml", more=_cell(b"\xff\xfe\x00"), keeps=STATES),
    case("a run cut short", PLANNED, "is missing", more=_cell("experiment: quickstart\nbudget: 0.1\n"), keeps=STATES),
    case("a run that was edited", PLANNED, "no longer what was planned", more=_edited("'n': 40", "'n': 41"), keeps=STATES),
    case("a run that was edited", PLANNED, "budget=0.0", more=_edited("budget: 0.1", "budget: 0.0"), keeps=STATES),
    case("a run that was edited", PLANNED, "data.rows", more=_edited("'n': 40", "rows: 40"), keeps=STATES),
    case("a run with other results", f"{PLANNED} budget=0.2", "budget=0.2", "plan again", more=copied("plan", "plan"), keeps=STATES),
    case("a run with an unknown key", f"{PLANNED} bugdet=0.2", "bugdet", "did you mean budget?", more=copied("plan", "plan"), keeps=STATES),
    case("a plan's list that is damaged", PLANNED, "plan.json", more=_plan_file("{"), keeps=STATES),
    case("a plan's list that is damaged", "{work}/plan", "plan.json", command=STATUS, more=_plan_file("{")),
    case("a plan's list that is damaged", "{work}/plan", "plan.json", command=STATUS, more=_plan_file('{"runs": [{}]}')),
    case("a plan's list that is damaged", "{work}/plan", "plan.json", command=SUBMIT, more=_plan_file('{"runs": 3}')),
    case("a plan that is none", "{work}/plan", "plan.json", command=STATUS, more=_plan_file(None)),
    case("a plan that is none", "{work}/plan", "plan.json", command=SUBMIT, more=_plan_file(None)),
    case("a folder that is not there", "/no/such", "/no/such", command=STATUS),
    case("a folder that is not there", "/no/such --json", "/no/such", command=STATUS),
    case("a folder that is not named", "", "DIR", command=STATUS),
    case("an unknown option", "{work} --wach", "--wach", command=STATUS),
    case("a limit that is none", "{work} --max-jobs some", "some", command=SUBMIT),
    case("a folder without runs", "{work}", "no runs", command=STATUS),
    case("a misspelt choice", f"{QUICK} selector=mp_mma", "selector/mp_mma", "mp_ma", command=PLAN),
    case("a misspelt key", f"{QUICK} budgett=0.1", "did you mean budget?", command=PLAN),
    case("dashes before a key", "--experiment=quickstart", "+experiment=quickstart", command=PLAN),
    case("an unknown option", f"{QUICK} --wirte plans", "--wirte", command=PLAN),
    case("an option without its value", f"{QUICK} --write", "--write", command=PLAN),
    case("a speed that is none", f"{QUICK} --tflops fast", "--tflops", command=PLAN),
    case("a speed that is none", f"{QUICK} --tflops 0", "--tflops", command=PLAN),
    case("a speed that is none", f"{QUICK} --bandwidth nan", "--bandwidth", command=PLAN),
    case("a sweep with a bad value", f"{QUICK} budget=0,0.1 seed=-1,0", "budget=0", "seed=-1", command=PLAN),
    case("a budget beyond the pool", f"{QUICK} budget=200000", "budget=200000", command=PLAN, keeps=ROWS),
    case("a plan into a file", f"{QUICK} selector=random --write {{work}}/f", "--write", files={"f": ""}, command=PLAN, keeps=ROWS),
    case("a plan over another", f"{QUICK} selector=random --write {{work}}/plan", "another plan", more=copied("plan", "plan"), command=PLAN, keeps=ROWS),
    case("data that are not there", OWN, "data.path", command=PLAN),
    case("an argument that is no key=value", "quickstart", "'quickstart'", command=PLAN),
    case("a reference to a key that is not there", f"{QUICK} budget=${{nope}}", "nope", command=PLAN),
    case("a root that is a file", f"{QUICK} paths.root={{work}}/f", "paths.root", files={"f": ""}, command=PLAN),
]


def _runs(damage: Any = None) -> Prepare:
    """Two runs as the pipeline writes them, then `damage(folder of the first)`."""

    def prepare(folder: Path, _: Templates) -> None:
        from report_runs import write_run

        one = write_run(folder / "runs", "mp_ma")
        write_run(folder / "runs", "random")
        if damage is not None:
            damage(one)

    return prepare


def _wrote(name: str, content: str | None) -> Prepare:
    def damage(run: Path) -> None:
        (run / name).unlink() if content is None else (run / name).write_text(content)

    return _runs(damage)


def _result(**changes: Any) -> Prepare:
    """The first run's result with other fields; None takes one out."""

    def damage(run: Path) -> None:
        result = json.loads((run / "result.json").read_text()) | changes
        (run / "result.json").write_text(json.dumps({key: value for key, value in result.items() if value is not None}))

    return _runs(damage)


PREDICTIONS = "predictions/gsm8k/exact_match.jsonl"
REPORTS = [
    case("a folder that is not there", "/no/such", "/no/such", command=REPORT),
    case("a folder that is not named", "", "DIR", command=REPORT),
    case("a file in a folder's place", "{work}/f", "not a folder", files={"f": ""}, command=REPORT),
    case("a folder without runs", "{work}", "no runs", command=REPORT),
    case("runs that all failed", "{work}/runs", "failed", command=REPORT, files={"runs/a/result.json": json.dumps({"experiment": "a", "model": "m", "selector": "s", "budget": 1, "seed": 0, "metrics": {}, "stages": {}, "status": "failed"})}),
    case("a run that did not finish", "{work}/runs", "unfinished", command=REPORT, files={"runs/a/config.yaml": "a: 1\n"}),
    case("a result that is damaged", "{work}/runs", "result.json", "incomplete", command=REPORT, more=_wrote("result.json", '{"experiment": "a", ')),
    case("a result that is damaged", "{work}/runs", "result.json", command=REPORT, more=_wrote("result.json", "")),
    case("a result that is damaged", "{work}/runs", "result.json", command=REPORT, more=_wrote("result.json", "[]")),
    case("a result that is damaged", "{work}/runs", "result.json", command=REPORT, more=_runs(lambda run: (run / "result.json").write_bytes(b"\xff\xfe"))),
    case("a result of another schema", "{work}/runs", "stages is missing", command=REPORT, more=_result(stages=None)),
    case("a result of another schema", "{work}/runs", "budget is missing", "seed is missing", command=REPORT, more=_result(budget=None, seed=None)),
    case("a result of another schema", "{work}/runs", "result.json", "metrics", command=REPORT, more=_result(metrics=[1])),
    case("a result of another schema", "{work}/runs", "result.json", "metrics", command=REPORT, more=_result(metrics={"gsm8k/exact_match": 0.5})),
    case("a result of another schema", "{work}/runs", "result.json", "metrics", command=REPORT, more=_result(metrics={"gsm8k/exact_match": {"value": "high"}})),
    case("a result of another schema", "{work}/runs", "result.json", "seed", command=REPORT, more=_result(seed="zero")),
    case("a result of another schema", "{work}/runs", "result.json", "budget", command=REPORT, more=_result(budget="much")),
    case("a result of another schema", "{work}/runs", "result.json", "stages", command=REPORT, more=_result(stages=["data"])),
    case("a result of another schema", "{work}/runs", "result.json", "n_selected", command=REPORT, more=_result(n_selected="many")),
    case("outcomes that are not there", "{work}/runs", "exact_match.jsonl", command=REPORT, more=_wrote(PREDICTIONS, None)),
    case("outcomes that are damaged", "{work}/runs", "exact_match.jsonl, line 1", command=REPORT, more=_wrote(PREDICTIONS, '{"id": ')),
    case("outcomes that are damaged", "{work}/runs", "exact_match.jsonl", command=REPORT, more=_wrote(PREDICTIONS, '{"id": "q00"}\n')),
    case("outcomes that are damaged", "{work}/runs", "exact_match.jsonl", command=REPORT, more=_wrote(PREDICTIONS, "[1]\n")),
    case("outcomes that are damaged", "{work}/runs", "exact_match.jsonl", command=REPORT, more=_wrote(PREDICTIONS, '{"id": "q00", "value": "x", "reference": "r"}\n')),
    case("outcomes of another run", "{work}/runs", "outcomes with mean", command=REPORT, more=_wrote(PREDICTIONS, '{"id": "q00", "value": 1, "reference": "r"}\n')),
    case("a selection that is damaged", "{work}/runs", "selected.jsonl", command=REPORT, more=_wrote("selected.jsonl", '{"id": ')),
    case("a selection that is damaged", "{work}/runs", "selected.jsonl", command=REPORT, more=_wrote("selected.jsonl", '{"rank": 1}\n')),
    case("a run's config that is damaged", "{work}/runs", "config.yaml", command=REPORT, more=_wrote("config.yaml", "a: [\n")),
    case("a run's config that is damaged", "{work}/runs", "config.yaml", command=REPORT, more=_wrote("config.yaml", "- 1\n")),
    case("a run's config that is damaged", "{work}/runs", "config.yaml", command=REPORT, more=_runs(lambda run: (run / "config.yaml").write_bytes(b"\xff\xfe"))),
    case("a report into a file", "{work}/runs --out {work}/f", "--out", files={"f": ""}, more=_runs(), command=REPORT),
    case("a report into a place that cannot be", "{work}/runs --out /proc/x", "--out", more=_runs(), command=REPORT),
    case("an unknown option", "{work} --output x", "--output", command=REPORT),
]
STUDIES = [
    case("an ablation that is none", f"rigde {QUICK}", "rigde", "ridge", command=ABLATIONS),
    case("an ablation that is not named", QUICK, "ridge", command=ABLATIONS),
    case("an ablation that is not named", "", "NAME", command=ABLATIONS),
    case("a misspelt key", f"ridge {QUICK} ablation.ridge=1", "ablation.ridge", "did you mean ablation.ridges?", command=ABLATIONS),
    case("a misspelt key, added", f"ridge {QUICK} +ablation.rigdes=[1]", "ablation.rigdes", "did you mean ablation.ridges?", command=ABLATIONS),
    case("settings of an ablation", f"ridge {QUICK} ablation.ridges=[-1]", "ablation.ridges", command=ABLATIONS),
    case("settings of an ablation", f"ridge {QUICK} ablation.ridges=[]", "ablation.ridges", command=ABLATIONS),
    case("settings of an ablation", f"ridge {QUICK} ablation.methods=[mpp]", "ablation.methods", "'mp'", command=ABLATIONS),
    case("settings of an ablation", f"ridge {QUICK} ablation.seeds=[-1]", "ablation.seeds", command=ABLATIONS),
    case("settings of an ablation", f"noise {QUICK} --scores gess", "ablation.scores", command=ABLATIONS),
    case("settings of an ablation", f"ridge {QUICK} --scores synthetic", "ablation.scores", command=ABLATIONS),
    case("a selector that an ablation does not vary", f"ridge {QUICK} selector=random", "selector=random", "mp_ma", command=ABLATIONS),
    case("dashes before a key", "ridge --experiment=quickstart", "+experiment=quickstart", command=ABLATIONS),
    case("an unknown option", f"ridge {QUICK} --verbose", "--verbose", command=ABLATIONS),
    case("data that are not there", f"ridge {CPU}", "data.path", command=ABLATIONS),
    case("a budget that is none", f"ridge {QUICK} budget=0", "budget=0", command=ABLATIONS),
    case("too few rows", f"ridge {QUICK} data.n=5", "needs 10", command=ABLATIONS, keeps=FAILED),
    case("a root that is a file", f"ridge {QUICK} paths.root={{work}}/f", "paths.root", files={"f": ""}, command=ABLATIONS),
    case("an argument that is no key=value", "ridge quickstart", "'quickstart'", "key=value", command=ABLATIONS),
]
CASES = [
    *COMMAND_LINE, *BUDGETS, *VALUES, *DATA, *JUDGES, *MODELS, *PLACES, *PLANS, *REPORTS, *STUDIES,
]  # fmt: skip


class _Features:
    """Not an array, however much it has a shape."""

    shape = (8, 3)


def _bad(value: float, row: int) -> np.ndarray:
    features = np.ones((8, 3))
    features[row, 1] = value
    return features


CALLS = [
    *(Call("a budget that is none", {"budget": value}, ("budget", "from 1 to 8")) for value in (0, -1, 9)),
    *(Call("a budget that is none", {"budget": value}, ("budget", "share")) for value in (0.0, 1.5, float("nan"), "10%", None, True)),
    Call("features that are no matrix", {"features": [[1.0, 2.0], [3.0]]}, ("features", "numpy array")),
    Call("features that are no matrix", {"features": _Features()}, ("features", "numpy array")),
    Call("features that are no matrix", {"features": np.ones(8)}, ("features", "2 dimensions")),
    Call("features that are no matrix", {"features": np.ones((8, 3), dtype=complex)}, ("features", "dtype")),
    Call("features that are no matrix", {"features": np.ones((0, 3))}, ("features", "at least one row")),
    Call("features that are no matrix", {"features": np.full((8, 3), "a")}, ("features", "dtype")),
    Call("features that are not finite", {"features": _bad(np.nan, 5)}, ("features", "row 5")),
    Call("features that are not finite", {"features": _bad(np.inf, 2)}, ("features", "row 2")),
    Call("scores of other rows", {"scores": np.ones((7, 2))}, ("scores", "8")),
    Call("scores of other rows", {"scores": np.ones((8, 1, 1))}, ("scores", "2 dimensions")),
    Call("scores that are not finite", {"scores": np.where(np.eye(8, 2) > 0, np.nan, 1.0)}, ("scores", "row 0")),
    Call("queries of another width", {"scores": None, "queries": np.ones((2, 4))}, ("queries", "3")),
    Call("scores and queries at once", {"queries": np.ones((2, 3))}, ("scores", "queries")),
    Call("candidates that are no mask", {"candidates": np.ones(7, dtype=bool)}, ("candidates", "8")),
    Call("candidates that are no mask", {"candidates": np.zeros(8, dtype=bool)}, ("candidates",)),
    Call("candidates that are no mask", {"candidates": np.arange(8)}, ("candidates", "bool")),
    Call("an unknown method", {"method": "mpp"}, ("method", "'mpp'", "mp, omp, logdet")),
    Call("an unknown method", {"score_scaling": "std"}, ("score_scaling", "'std'", "rms")),
    *(Call("options out of range", {name: -1.0}, (name, ">")) for name in ("ridge", "tol", "noise")),
    *(Call("options out of range", {name: float("nan")}, (name, "finite")) for name in ("ridge", "tol", "noise")),
    Call("options out of range", {"cache_bytes": 0}, ("cache_bytes",)),
    Call("a device that is none", {"device": "tpu9"}, ("device", "tpu9")),
    Call("a dtype that is none", {"dtype": "float64"}, ("dtype", "torch.float64")),
    Call("several problems at once", {"method": "x", "ridge": -1, "budget": 0}, ("method", "ridge", "budget")),
]
