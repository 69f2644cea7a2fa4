"""docs/cluster.md: its script queues a job again, its two hosts train as one, its figures are right."""

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import senet
from made_runs import tiny
from pages import DOCS, examples, shell_lines
from senet.cli.main import main
from senet.recipe import load_recipe
from senet.training.loop import train
from senet.training.scaling import scaled_rate

PAGE = DOCS / "cluster.md"
IMAGENET = 1_281_167
"""Training images."""

ENDS_IN = 900.0
"""Seconds that a busy machine may need for an epoch of the digits in two processes."""

TOOLS = {
    "scontrol": 'echo "$@" >> told; [ "$1" = show ] && printf "node7\\nnode8\\n"',
    "srun": 'echo "$@" >> told; exit $(cat code)',
}
"""What SLURM has, as far as the script needs it."""


def test_its_script_requeues_what_was_told_to_end_and_ends_well_on_a_finished_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, script = examples(PAGE, "bash")[0]
    for name, body in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    given = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "42", "SLURM_GPUS_ON_NODE": "8", "SLURM_NNODES": "2", "IMAGENET": "/images"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **given}

    def submitted(code: int) -> list[str]:
        (tmp_path / "code").write_text(str(code))
        (tmp_path / "told").unlink(missing_ok=True)
        assert subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False).returncode == code
        return (tmp_path / "told").read_text().splitlines()

    recipe, where = "imagenet_main --data.root /images", "--devices 8 --nodes 2 --rdzv-endpoint node7:29400"
    shown, requeued = "show hostnames node[7-8]", "requeue 42"
    begun = submitted(0)
    assert begun[0] == shown
    assert begun[1].startswith(f"senet train {recipe} --folder runs/imagenet ")
    assert begun[1].endswith(f" {where}")
    train(tiny(training__epochs=1), folder=tmp_path / "runs" / "imagenet", progress=False)
    assert submitted(138) == submitted(75) == [*begun, requeued], "the same command, whatever is in the folder"
    _, *words = shlex.split(begun[1].replace(recipe, "runs/imagenet/recipe.yaml").removesuffix(where))
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0, "the run is finished, not failed"


@pytest.mark.slow
def test_its_two_hosts_train_as_one(tmp_path: Path) -> None:
    (line,) = (line for line in shell_lines(PAGE) if "127.0.0.2" in line)
    command = [sys.executable, "-m", *shlex.split(line)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    told = [(tmp_path / f"out{host}", tmp_path / f"err{host}") for host in range(2)]
    with ExitStack() as files:
        streams = [[files.enter_context(path.open("w")) for path in paths] for paths in told]
        hosts = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=err) for out, err in streams]
        try:
            assert [host.wait(ENDS_IN) for host in hosts] == [0, 0], [err.read_text() for _, err in told]
        finally:
            for host in hosts:
                host.kill()  # whose processes then end, too
    assert all("waiting at 127.0.0.2:29400 until 2 machines are there" in err.read_text() for _, err in told)
    assert sum("top-1 %" in out.read_text() for out, _ in told) == 1
    assert json.loads((tmp_path / "runs" / "two" / "environment.json").read_text())["processes"] == 2


def test_its_rate_is_what_the_log_says() -> None:
    text = PAGE.read_text()
    size, base = (int(number) for number in re.findall(r"--data.batch_size (\d+) --optim.lr_batch_size (\d+)", text)[0])
    recipe = load_recipe("imagenet_main", {"data.batch_size": size, "optim.lr_batch_size": base})
    assert f"`{scaled_rate(recipe, IMAGENET // size, size).remark}`" in text


@pytest.mark.parametrize(("name", "title"), [("se_resnet50", "SE-ResNet-50"), ("senet154", "SENet-154"), ("vgg16_bn", "VGG-16")])
def test_its_memory_is_that_of_the_parameters(name: str, title: str) -> None:
    count = sum(parameter.numel() for parameter in senet.create_model(name, device="meta").parameters())
    of_sgd, of_adamw = (4 * numbers * count / 1e9 for numbers in (3, 5))
    assert f"| {title} | {count / 1e6:.0f} M | {of_sgd:.1f} GB | {of_adamw:.1f} GB |" in PAGE.read_text()
