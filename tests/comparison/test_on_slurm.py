"""What SLURM is told, by programs that stand in for its own: they submit an array by running its tasks here, one after the other."""

import os
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

from made_results import make_result
from senet.cli.main import main
from senet.comparison.on_slurm import TASK, submit
from senet.comparison.result_files import ResultFiles
from senet.comparison.run import Plan, plan_of
from senet.comparison.side_by_side import JobError
from senet.recipe import load_recipe

SBATCH = """#!/bin/sh
env | grep ^SBATCH_ | sort > "$TOLD/environment"
for word in "$@"; do echo "$word"; done > "$TOLD/sbatch"
echo "4711"
exec sh "$TOLD/then"
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with what sbatch is told; it then runs the file `then` that lies there."""
    programs, told = tmp_path / "bin", tmp_path / "told"
    for folder in (programs, told):
        folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", '#!/bin/sh\necho "$@" > "$TOLD/scancel"\n')):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(told))
    (told / "then").write_text("exit 0\n")
    return told


def plan(out: Path) -> Plan:
    return plan_of(load_recipe("digits"), None, 3, out)


def test_an_array_runs_the_same_command_and_its_result_is_read(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_SIGNAL", "USR1@600")
    made, files = make_result({"plain": [98.0, 97.0, 97.5], "SE": [98.5, 98.0, 98.5]}), tmp_path / "made"
    ResultFiles(files, "", report=False).write(made)
    (told / "then").write_text(f"cp {files}/result.json {tmp_path}/runs/compare-digits/\n")
    result = submit(plan(tmp_path / "runs"), ["digits", "--jobs=2", "--cluster", "slurm", "--seeds", "3"], report=False)
    assert result.summary == made.summary
    flags, script, (_, *command) = (words := (told / "sbatch").read_text().splitlines())[:4], words[4], words[5:]
    assert flags == ["--parsable", "--wait", "--array=1-6", f"--output={tmp_path}/runs/compare-digits/slurm-%A_%a.log"]
    assert Path(script).name == "slurm_task.sh"
    assert command == ["-m", "senet", "compare", "digits", "--seeds", "3"]
    assert "SBATCH_REQUEUE=1\nSBATCH_SIGNAL=USR1@600" in (told / "environment").read_text()


def test_a_job_without_a_result_and_one_that_is_not_taken_are_one_line(told: Path, tmp_path: Path) -> None:
    (told / "then").write_text("exit 3\n")
    with pytest.raises(JobError, match=r"batch job 4711 has made no result \(exit code 3\): see .*slurm-4711_1.log"):
        submit(plan(tmp_path / "runs"), ["digits"], jobs=1, report=False)
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: gpu' >&2\nexit 1\n")
    with pytest.raises(JobError, match="sbatch has not taken the job: invalid partition specified: gpu"):
        submit(plan(tmp_path / "runs"), ["digits"], jobs=1, report=False)


def test_ctrl_c_cancels_the_array(told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (told / "then").write_text(f"kill -INT {os.getpid()}\nexec sleep 60\n")
    assert main(["compare", "digits", "--cluster", "slurm", "--out", str(tmp_path / "runs")]) == 130
    assert "batch job 4711 is cancelled; the same command goes on from there" in capsys.readouterr().err
    assert (told / "scancel").read_text() == "4711\n"


def test_a_task_is_put_back_when_its_time_was_over(told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("srun", 'shift\nexec "$@"'), ("scontrol", 'echo "$@" > "$TOLD/scontrol"')):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert run(["sh", str(TASK), "sh", "-c", "exit 2"], check=False).returncode == 2
    assert not (told / "scontrol").exists()
    assert run(["sh", str(TASK), "sh", "-c", "exit 138"], check=False).returncode == 138
    assert (told / "scontrol").read_text() == "requeue 7_2\n"


def test_processes_of_a_launcher_are_refused_before_anything_is_submitted(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # which the tasks would get, too
    assert "a launcher such as torchrun has started 2" in refused("compare", "--cluster", "slurm", "--out", tmp_path / "runs")
    assert not (told / "sbatch").exists()
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["compare", "--out", tmp_path, "--cluster"]
    assert "needs SLURM's sbatch" in refused(*words, "slurm")
    assert "leave it out with --cluster slurm" in refused(*words, "slurm", "--address", "auto")
    assert list(tmp_path.iterdir()) == []
