"""`gip_exp submit` with a SLURM made of scripts: refusals with remedies, cut arrays, nothing twice, a dry run."""

import json
import os
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from report_runs import write_run
from test_gip_exp_runs_lock import fake
from test_gip_exp_status import make_plan

from gip_exp import launch
from gip_exp.cli import main, submit
from gip_exp.errors import UserError
from gip_exp.runs import sbatch
from gip_exp.storage.files import write_json
from gip_exp.sweep import job_arrays, plan_folder
from gip_exp.sweep import state as progress
from gip_exp.sweep.cluster import cluster

# Prints the next id; refuses, with what is in refusals/PHASE if there is such a file, in SLURM's words.
SBATCH = """\
#!/bin/bash
cd {folder}
printf '%s\\n' "$*" >>calls
printf '%s|%s\\n' "$PYTHONPATH" "$SECRET" >>environments
for phase in select train; do
  if [[ "$*" == *--job-name=gip-$phase* && -f refusals/$phase ]]; then cat refusals/$phase >&2; exit 1; fi
done
sleep {seconds}
id=$(( $(wc -l <calls) + 100 ))
array=$(grep -o -- '--array=[^ %]*' <<<"$*"); array=${{array#--array=}}
name=$(grep -o -- '--job-name=[^ ]*' <<<"$*")
for part in ${{array//,/ }}; do for task in $(seq ${{part%-*}} ${{part#*-}}); do
  echo "$id|$task|PENDING|Resources" >>queue; done; done
echo "$id ${{name#*=}}" >>names
echo "$id;mycluster"
"""
# squeue -n NAME, -u USER (one line a job), or all jobs; fails while the file `down` is there.
SQUEUE = """\
#!/bin/bash
cd {folder}
if [ -f down ]; then echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1; fi
case "$*" in
  *" -n "*) grep " ${{@: -1}}\\$" names | cut -d' ' -f1 ;;
  *) cat queue ;;
esac
"""


class FakeCluster:
    """The scripts, what sbatch was called with, and the queue."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        (folder / "refusals").mkdir()
        for name in ("queue", "names", "calls"):
            (folder / name).touch()
        self.sbatch()
        self.script("squeue", SQUEUE)
        fake(folder, "scontrol", "MaxArraySize            = 11\nMaxJobCount = 10000")
        fake(folder, "sacctmgr", "no accounting", code=1)
        fake(folder, "sacct", "no accounting", code=1)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        for name in [name for name in os.environ if name.startswith(("GIP_", "SBATCH_"))]:
            monkeypatch.delenv(name)

    def script(self, name, text, **values):
        path = self.folder / name
        path.write_text(text.format(folder=self.folder, **values))
        path.chmod(0o755)

    def sbatch(self, seconds=0.0):
        self.script("sbatch", SBATCH, seconds=seconds)

    def refuse(self, phase, message):
        (self.folder / "refusals" / phase).write_text(f"sbatch: error: {message}\n")

    def accept(self):
        for path in (self.folder / "refusals").iterdir():
            path.unlink()

    @property
    def calls(self):
        return [line.split() for line in (self.folder / "calls").read_text().splitlines()]

    def given(self, option):
        """Values of an option in every call; None where it is not given."""
        found = [[part for part in call if part.startswith(f"--{option}=")] for call in self.calls]
        return [parts[-1].partition("=")[2] if parts else None for parts in found]


@pytest.fixture
def slurm_of_scripts(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    return FakeCluster(folder, monkeypatch)


def submitted(capsys, plan, *options):
    code = submit.main([str(plan), *options])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_arrays_are_cut_and_training_waits_for_its_own_selection(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=24)
    code, out, err = submitted(capsys, plan)
    assert (code, err) == (0, "")
    assert slurm_of_scripts.given("array") == ["0-10", "0-10", "0-10", "0-10", "0-1", "0-1"]
    waits = [value for job in (101, 103, 105) for value in (None, f"aftercorr:{job}")]
    assert slurm_of_scripts.given("dependency") == waits
    scripts = [call[-5:] if "until=select" in call else call[-4:] for call in slurm_of_scripts.calls]
    assert [(script[0].rsplit("/")[-1], script[1], script[2], *script[3:]) for script in scripts] == [
        (f"{phase}.sbatch", sys.executable, str(plan), first, *until)
        for first in ("0", "11", "22")
        for phase, until in (("select", ["until=select"]), ("train", []))
    ]
    assert "selection of runs 11-21: job 103" in out
    assert "training of runs 22-23 after it: job 106" in out
    assert {state.state for state in progress.of_plan(plan)} == {"queued"}
    assert [state.where for state in progress.of_plan(plan)][12] == "job 103_1, 104_1"
    assert submitted(capsys, plan)[1].startswith("nothing to submit")
    assert len(slurm_of_scripts.calls) == 6


REFUSALS = [
    ("invalid partition specified: nope", "GIP_CPU_PARTITION"),
    ("Batch job submission failed: Invalid account or account/partition combination specified", "GIP_ACCOUNT"),
    ("Invalid generic resource (gres) specification", "GIP_GPUS"),
    ("Batch job submission failed: Invalid job array specification", "MaxArraySize"),
    ("Unable to open file /gone/select.sbatch", "the script is not readable"),
    ("Batch job submission failed: Invalid qos specification", "GIP_QOS"),
    ("Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time "
     "limits)", "--max-jobs"),
    ("Batch job submission failed: Required partition not available (inactive or drain)", "takes no jobs now"),
    ("Batch job submission failed: Requested reservation is invalid", "correct the option in GIP_CPU_ARGS"),
    ("Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)", "GIP_MINUTES"),
    ("Memory specification can not be satisfied\nBatch job submission failed: Requested node configuration is not "
     "available", "set GIP_MEM_GB, or --mem in GIP_CPU_ARGS"),
    ("Batch job submission failed: Unable to contact slurm controller (connect failure)", "controller is down"),
    ("unrecognized option '--frobnicate'", "GIP_CPU_ARGS"),
    ("something new", "man sbatch"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "remedy"), REFUSALS)
def test_a_refusal_is_shown_with_its_remedy_and_its_training_is_not_submitted(
    tmp_path, slurm_of_scripts, capsys, message, remedy
):
    plan = make_plan(tmp_path, count=2)
    slurm_of_scripts.refuse("select", message)
    code, out, err = submitted(capsys, plan)
    assert (code, out) == (2, "")
    assert "error: selection of runs 0-1 was refused: sbatch: error: " + message.splitlines()[0] in err
    assert remedy in err
    assert len(slurm_of_scripts.calls) == 1
    assert {state.state for state in progress.of_plan(plan)} == {"missing"}
    slurm_of_scripts.accept()
    assert submitted(capsys, plan)[0] == 0
    assert len(slurm_of_scripts.calls) == 3


def test_refused_training_is_added_to_the_queued_selection(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=12)
    slurm_of_scripts.refuse("train", "invalid partition specified: gpu")
    code, out, err = submitted(capsys, plan)
    assert code == 2
    assert "selection of runs 0-10: job 101" in out
    assert "selection of runs 11: job 103" in out
    assert "training of runs 0-10 after it was refused" in err
    assert "GIP_GPU_PARTITION" in err
    assert "training of runs 11 after it was not tried" in err
    assert len(slurm_of_scripts.calls) == 3
    slurm_of_scripts.accept()
    code, out, _ = submitted(capsys, plan)
    assert code == 0
    assert slurm_of_scripts.given("dependency")[-2:] == ["aftercorr:101", "aftercorr:103"]
    assert "selection" not in out
    assert "training of runs 0-10 after it (job 101): job 104" in out
    assert submitted(capsys, plan)[1].startswith("nothing to submit")


def test_two_submissions_at_one_moment_submit_once(tmp_path, slurm_of_scripts):
    plan = make_plan(tmp_path, count=3)
    slurm_of_scripts.sbatch(seconds=0.5)
    command = [sys.executable, "-m", "gip_exp", "submit", str(plan)]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = sorted(one.communicate(timeout=60)[0] for one in both)
    assert [one.returncode for one in both] == [0, 0]
    assert said[0].startswith("nothing to submit")
    assert "selection of runs 0-2: job 101" in said[1]
    assert len(slurm_of_scripts.calls) == 2


def test_a_submission_killed_before_it_recorded_the_answer_is_completed(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=2)
    slurm_of_scripts.sbatch(seconds=0.5)
    process = subprocess.Popen([sys.executable, "-m", "gip_exp", "submit", str(plan)], cwd=ROOT)
    while not (slurm_of_scripts.folder / "calls").stat().st_size:
        time.sleep(0.01)
    process.kill()
    process.wait()
    while not (slurm_of_scripts.folder / "names").stat().st_size:  # sbatch itself went on
        time.sleep(0.01)
    code, out, _ = submitted(capsys, plan)
    assert code == 0
    assert "selection" not in out
    assert "training of runs 0-1 after it (job 101): job 102" in out


def test_nothing_is_submitted_while_slurm_does_not_answer(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path)
    assert submitted(capsys, plan)[0] == 0
    (slurm_of_scripts.folder / "down").touch()
    (state,) = progress.of_plan(plan)
    assert (state.state, "connect failure" in state.reason) == ("unknown", True)
    code, _, err = submitted(capsys, plan)
    assert code == 2
    assert "nothing was submitted, because SLURM does not" in err
    assert len(slurm_of_scripts.calls) == 2


def test_a_dry_run_is_a_script_that_submits_the_same(tmp_path, slurm_of_scripts, capsys, monkeypatch):
    monkeypatch.setenv("GIP_CPU_ARGS", "--comment='two words'")
    plan = make_plan(tmp_path, count=13)
    code, out, _ = submitted(capsys, plan, "--dry-run")
    assert (code, slurm_of_scripts.calls) == (0, [])
    assert not (plan / job_arrays.JOBS).exists()
    subprocess.run(["bash", "-c", out], check=True)
    printed = slurm_of_scripts.calls
    (slurm_of_scripts.folder / "calls").write_text("")
    (slurm_of_scripts.folder / "queue").write_text("")
    submitted(capsys, plan)

    def without_names(calls):
        return [[part for part in call if not part.startswith("--job-name")] for call in calls]

    assert without_names(printed) == without_names(slurm_of_scripts.calls)
    assert slurm_of_scripts.given("dependency") == [None, "aftercorr:101", None, "aftercorr:103"]


def test_the_limit_on_queued_jobs_cuts_what_is_submitted(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=12)
    fake(slurm_of_scripts.folder, "sacctmgr", "7|normal")  # MaxSubmit of the association
    (slurm_of_scripts.folder / "queue").write_text("9|N/A|RUNNING|None\n")
    code, out, _ = submitted(capsys, plan)
    assert code == 0
    assert slurm_of_scripts.given("array") == ["0-2", "0-2"]  # 6 of the 6 jobs that are left
    assert "9 runs do not fit into the limit on queued jobs (3-11): repeat the command" in out
    assert "9 runs do not fit" in submitted(capsys, plan)[1]
    assert len(slurm_of_scripts.calls) == 2
    assert submitted(capsys, plan, "--max-jobs", "9")[0] == 0
    assert slurm_of_scripts.given("array")[2:] == ["3", "3"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["--nodes=1", "--gpus=4"]),  # as many as the runs need
        ({"GIP_GPUS": "a100:2"}, ["--nodes=1", "--gpus=a100:2"]),
        ({"GIP_GPUS": "0"}, []),
        ({"GIP_GPU_ARGS": "--gres=gpu:h100:4 --time=1:00:00"}, ["--gres=gpu:h100:4", "--time=1:00:00"]),
        ({"GIP_GPU_ARGS": "--time=1:00:00"}, ["--nodes=1", "--gpus=4", "--time=1:00:00"]),
        (
            {
                "GIP_PARTITION": "p",
                "GIP_MINUTES": "30",
                "GIP_CPUS": "4",
                "GIP_MEM_GB": "32",
                "GIP_CONSTRAINT": "a|b",
            },
            [
                *("--partition=p", "--nodes=1", "--gpus=4"),
                *("--time=30", "--cpus-per-task=4", "--mem=32G", "--constraint=a|b"),
            ],
        ),
        (
            {
                "GIP_GPU_ARGS": "--time=1:00:00",
                "GIP_GPUS": "2",
                "GIP_GPU_PARTITION": "g",
                "GIP_ACCOUNT": "lab",
            },
            ["--account=lab", "--partition=g", "--nodes=1", "--gpus=2", "--time=1:00:00"],
        ),
    ],
)
def test_the_options_of_gpu_nodes(environment, expected):
    assert cluster(environment).options("gpu", 4) == expected
    if not environment:
        assert cluster(environment).options("gpu", 0) == []  # a model that needs none


@pytest.mark.parametrize(
    "name_and_value",
    [
        "GIP_GPUS=two",
        "GIP_PARALLEL=0",
        "GIP_MINUTES=hour",
        "GIP_DEPENDENCY=after",
        "GIP_CPU_ARGS=--comment='open",
        "GIP_CPU_ARGS=--mem=4G --array=0-3",
        "GIP_GPU_ARGS=-J mine",
        "GIP_GPU_PARTITON=gpu",
    ],
)
def test_a_wrong_variable_is_named(name_and_value):
    name, _, value = name_and_value.partition("=")
    with pytest.raises(UserError, match=name):
        cluster({name: value})


def test_variables_of_others_are_left_alone():
    names = ["GIP_DATA", "GIP_REQUIRE", "GIP_VLLM_API_KEY", "GIP_HOME", "ACCOUNT"]
    assert cluster(dict.fromkeys(names, "x")) == cluster({})


def test_a_selection_on_gpu_nodes_runs_one_at_a_time_over_all_arrays(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=12, selects_on="gpu")
    assert submitted(capsys, plan)[0] == 0
    assert slurm_of_scripts.given("array") == ["0-10%1", "0-10", "0%1", "0"]
    assert slurm_of_scripts.given("dependency") == [None, "aftercorr:101", "afterany:101", "aftercorr:103"]


def test_a_plan_that_stops_early_is_not_trained_and_keeps_its_stage(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=2, ends="stopped:score")
    assert submitted(capsys, plan)[0] == 0
    assert [call[-4].rsplit("/")[-1] for call in slurm_of_scripts.calls] == ["select.sbatch"]
    assert "until=select" not in slurm_of_scripts.calls[0]
    assert submitted(capsys, plan)[1].startswith("nothing to submit")


def test_selected_runs_are_only_trained_and_done_ones_left_out(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=4)
    write_run(tmp_path / "runs", name="run1")
    write_run(tmp_path / "runs", name="run2", status="stopped:select")
    code, out, _ = submitted(capsys, plan)
    assert code == 0
    assert slurm_of_scripts.given("array") == ["0,3", "0,3", "2"]
    assert "training of runs 2, selected already: job 103" in out


def test_without_the_environment_active_the_script_names_the_variable(tmp_path):
    plan = make_plan(tmp_path)
    link = tmp_path / "link.sh"  # a symbolic link finds the checkout, too
    link.symlink_to(ROOT / "slurm" / "submit.sh")
    fake(tmp_path, "bare-python", "ModuleNotFoundError: No module named 'numpy'", code=1)
    environment = {**os.environ, "GIP_PYTHON": str(tmp_path / "bare-python")}
    done = subprocess.run([link, plan], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "bare-python cannot run gip_exp (ModuleNotFoundError: No module named 'numpy')" in done.stderr
    assert "GIP_PYTHON" in done.stderr
    environment["GIP_PYTHON"] = sys.executable
    done = subprocess.run(
        [link, plan, "--max-jobs", "none"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, "none must be a number of jobs" in done.stderr) == (2, True)


@pytest.mark.parametrize("content", ["{", '{"job": "1"}\n', "[]\n"])
def test_a_damaged_record_of_jobs_stops_the_submission(tmp_path, slurm_of_scripts, capsys, content):
    plan = make_plan(tmp_path)
    (plan / job_arrays.JOBS).write_text(content)
    code, _, err = submitted(capsys, plan)
    assert (code, slurm_of_scripts.calls) == (2, [])
    assert "jobs.jsonl is damaged" in err


def test_a_folder_without_a_plan_is_refused(tmp_path, capsys):
    assert submitted(capsys, tmp_path)[0] == 2
    write_json(tmp_path / plan_folder.PLAN, {"runs": 3})
    code, _, err = submitted(capsys, tmp_path)
    assert (code, "plan.json is damaged" in err) == (2, True)


def test_a_site_that_passes_no_environment_on_gets_the_names(tmp_path, slurm_of_scripts, capsys, monkeypatch):
    monkeypatch.setenv("SBATCH_EXPORT", "NONE")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("UNRELATED", "1")
    code, _, err = submitted(capsys, make_plan(tmp_path))
    assert code == 0
    names = slurm_of_scripts.given("export")[0].split(",")
    assert {"HF_HUB_OFFLINE", "PATH", "PYTHONPATH"} <= set(names)
    assert "UNRELATED" not in names
    assert f"SBATCH_EXPORT=NONE: the jobs get only {', '.join(names)}" in err


def test_an_answer_of_sbatch_that_is_no_id_is_a_refusal(tmp_path, slurm_of_scripts):
    fake(slurm_of_scripts.folder, "sbatch", "Welcome to the cluster")
    with pytest.raises(sbatch.RefusedError, match="Welcome to the cluster"):
        sbatch.submit([], os.environ)


def test_records_are_lines_of_json(tmp_path, slurm_of_scripts, capsys):
    plan = make_plan(tmp_path, count=2)
    submitted(capsys, plan)
    rows = [json.loads(line) for line in (plan / job_arrays.JOBS).read_text().splitlines()]
    assert [sorted(row) for row in rows] == [["first", "name", "phase", "runs"], ["job", "name"]] * 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["+experiment=quickstart", "hydra/launcher=slurm"], "is for sweeps: add -m"),
        (
            ["-m", "+experiment=quickstart", "hydra/launcher=slurm", "hydra.launcher.partition=a"],
            "GIP_PARTITION",
        ),
        (["-m", "+experiment=quickstart", "hydra/launcher=slurm"], "needs sbatch"),
    ],
)
def test_what_the_launcher_cannot_do_is_refused(tmp_path, monkeypatch, capsys, arguments, part):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["gip-exp", *arguments, f"paths.root={tmp_path}/outputs"])
    assert main.main() == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(("fits", "calls"), [(1, 3), (0, 2)])
def test_the_launcher_submits_again_as_long_as_more_fits_into_the_limit(tmp_path, monkeypatch, fits, calls):
    plan, made = make_plan(tmp_path, count=3), []

    def submit_what_fits(_):
        made.append(len(made))
        if fits:
            write_run(tmp_path / "runs", name=f"run{made[-1]}")
        return 0

    monkeypatch.setattr(launch.submit, "main", submit_what_fits)
    assert launch._submit_all(plan) == 0
    assert len(made) == calls


def test_the_launcher_shows_jobs_that_were_cancelled_before_they_began(
    tmp_path, monkeypatch, capsys, slurm_of_scripts
):
    plan = make_plan(tmp_path, count=1)
    submitted(capsys, plan)
    queue = slurm_of_scripts.folder / "queue"
    queue.write_text(queue.read_text().replace("PENDING|Resources", "CANCELLED|None"))
    assert launch._conclude(plan, 0) == 2
    shown = capsys.readouterr()
    assert "cancelled, before its training began\n" in shown.out  # without an output to look at
    assert "not every run is done" in shown.err
