"""The pages say what is so: commands parse and compose, links lead somewhere, examples run, YAML loads."""

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from gip_exp.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    page
    for folder in (".", ".github", "*", "gip_exp/*")
    for page in sorted(ROOT.glob(f"{folder}/*.md"))
    if page.parent.name != "outputs"
]
PAGES = list(dict.fromkeys(page.resolve() for page in PAGES))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)", re.MULTILINE)
# What a command may lack on the machine that tests it.
ELSEWHERE = re.compile(r"does not exist|local cache|cannot be reached|needs (vLLM|OPENAI_API_KEY)|GPU")
VARIABLE = re.compile(r"[A-Z_]+=")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[list[str]]:
    """Words of every command of the page's bash blocks, without comments and the variables set before it."""
    for body in blocks(page, "bash"):
        for line in body.replace("\\\n", " ").splitlines():
            for joined, words in groupby(shlex.split(line, comments=True), key=lambda word: word == "&&"):
                plain = list(words)
                while plain and VARIABLE.match(plain[0]):
                    plain.pop(0)
                if plain and not joined:
                    yield plain


COMMANDS = {f"{name(page)}: {shlex.join(words)}": words for page in PAGES for words in commands(page)}


def ours(words: list[str]) -> tuple[str, list[str]] | None:
    """(module, arguments) of a command of this project however it is started; None for another program."""
    if words[:2] == ["python", "-m"] and words[2].split(".")[0] == "gip_exp":
        return words[2], words[3:]
    if words[0] != "gip-exp":
        return None
    module = f"gip_exp.{words[1]}" if len(words) > 1 else "gip_exp"
    return (module, words[2:]) if module in CHECKS else ("gip_exp", words[1:])


def compose(overrides: list[str], root: Path) -> None:
    """The first and the last run are valid, and the first could start, or lacks nothing but a file, the hub, a key or a GPU."""
    from gip_exp import graph
    from gip_exp.config import parse
    from gip_exp.preflight import preflight
    from gip_exp.storage.store import Store
    from gip_exp.sweep import expand

    runs = expand.expand([*overrides, f"paths.root={root}"])
    config, _ = (parse(values) for values in expand.compose([runs[0], runs[-1]]))
    stages = graph.stages(config)
    assert stages
    try:
        preflight(config, stages, Store(config.paths.root))
    except UserError as error:
        listed = re.findall(r"^  \d+\. (.+)$", str(error), re.MULTILINE) or [str(error)]
        if not all(ELSEWHERE.search(problem) for problem in listed):
            raise


def check_run(arguments: list[str], root: Path) -> None:
    from hydra._internal.utils import get_args_parser

    if arguments[:1] == ["--planned"]:
        assert next(text for text in arguments[1:] if "=" not in text).endswith(".yaml")
        return
    options = get_args_parser().parse_args(arguments)
    if not options.help:
        compose(options.overrides, root)


def check_plan(arguments: list[str], root: Path) -> None:
    from gip_exp import plan

    overrides = plan._parser().parse_known_args(arguments)[1]
    assert not [text for text in overrides if text.startswith("-")]
    compose(overrides, root)


def check_status(arguments: list[str], _: Path) -> None:
    from gip_exp import status

    status._parser().parse_args(arguments)


def check_compare(arguments: list[str], _: Path) -> None:
    from gip_exp import compare

    compare._parser().parse_args(arguments)


def check_parity(arguments: list[str], _: Path) -> None:
    from gip_exp.parity import __main__ as parity

    parity._parser().parse_args(arguments)


def check_report(arguments: list[str], root: Path) -> None:
    from gip_exp.report import __main__ as report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gip_exp.report.write.write_report", lambda *_: SimpleNamespace())
        patch.setattr("gip_exp.report.upload.upload", lambda *_: None)
        assert report.main(arguments) == 0


def check_ablations(arguments: list[str], root: Path) -> None:
    from gip_exp.ablations import __main__ as ablations
    from gip_exp.ablations import compose as composing
    from gip_exp.console import Console

    options, overrides = ablations._parser().parse_known_args(arguments)
    assert composing.setup(options.name, overrides, Console()).selector


def check_submit(arguments: list[str], root: Path) -> None:
    from gip_exp.cli import submit

    assert submit._parser().parse_args(arguments).folder


def check_judge(arguments: list[str], _: Path) -> None:
    from gip_exp import judge

    assert judge._parser().parse_args(arguments).command


CHECKS: dict[str, Callable[[list[str], Path], None]] = {
    "gip_exp": check_run,
    "gip_exp.plan": check_plan,
    "gip_exp.status": check_status,
    "gip_exp.compare": check_compare,
    "gip_exp.parity": check_parity,
    "gip_exp.submit": check_submit,
    "gip_exp.report": check_report,
    "gip_exp.ablations": check_ablations,
    "gip_exp.judge": check_judge,
}


def check_program(words: list[str]) -> None:
    """Another program: its files are in the tree, and the extras, targets and options that it is given exist."""
    extras = {extra for text in words for extra in re.findall(r"\.\[(\w+)\]", text)}
    assert extras <= set(PROJECT["optional-dependencies"])
    files = [text for text in words if re.fullmatch(r"[\w/]+\.(py|sh)", text)]
    assert all((ROOT / file).is_file() for file in files)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for option in (text for text in words if files and text.startswith("--")):
        assert f'"{option}"' in (ROOT / files[0]).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_on_a_page_is_one_that_works(command, tmp_path):
    found = ours(COMMANDS[command])
    if found is None:
        check_program(COMMANDS[command])
    else:
        module, arguments = found
        # The selector that a page adds is not there; `test_gip_exp_registry` adds and runs it.
        CHECKS[module](
            [text.replace("selector=shortest", "selector=longest") for text in arguments], tmp_path
        )


def test_commands_were_found_on_every_kind_of_page():
    modules = {found[0] for words in COMMANDS.values() if (found := ours(words))}
    assert modules == set(CHECKS)
    assert len(PAGES) > 10


def test_a_command_that_does_not_work_is_noticed(tmp_path):
    for words in (["+experiment=nothing"], ["+experiment=quickstart", "budgets=0.1"], ["--pair", "x"]):
        with pytest.raises((Exception, SystemExit), match=r"nothing|budgets|2"):
            check_run(words, tmp_path)
    with pytest.raises(AssertionError):
        check_program(["pip", "install", "-e", ".[gpu]"])
    with pytest.raises(AssertionError):
        check_program(["make", "everything"])


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings_that_exist(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    images = re.findall(r"!\[[^\]]*\]\((\S+)\)", text)
    links = [first or second for first, second in LINK.findall(text)] + images
    for link in (link for link in links if not link.startswith("http")):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_on_a_page_compiles_and_what_is_complete_runs(page):
    for body in blocks(page, "python"):
        code = compile(body, name(page), "exec")
        if "import numpy" in body:
            exec(code, {})


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_keys_and_choices_in_tables_exist(page):
    """Settings in running text, `selector.ridge` or `judge=rules`, are ones that the config has."""
    from gip_exp.config.keys import groups, keys, options

    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for code in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", text):
        if code.split(".")[0] in groups() and not code.endswith((".sbatch", ".md", ".py", ".yaml")):
            assert code in keys(), code
    for group, choice in re.findall(r"`\+?([a-z_]+)=([a-z0-9_]+)`", text):
        if group in groups():
            assert choice in options(group), f"{group}={choice}"


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob(".github/**/*.yml")), ROOT / "CITATION.cff"], ids=lambda path: path.name
)
def test_github_and_citation_files_load(path):
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    if "workflows" in path.parts:
        steps = [step for job in loaded["jobs"].values() for step in job["steps"]]
        assert all(("run" in step) != ("uses" in step) for step in steps)
    if "ISSUE_TEMPLATE" in path.parts and path.name != "config.yml":
        assert {"name", "description", "body"} <= loaded.keys()


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
