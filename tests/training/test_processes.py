"""Device, precision and threads; two processes that train as one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from made_runs import assert_same_run, tiny
from senet.errors import UsageError
from senet.recipe import override
from senet.results.run_folder import RunFolder
from senet.training.loop import train
from senet.training.processes import PIXELS_A_THREAD, limited_threads, start_fabric


@pytest.mark.parametrize(("precision", "name"), [("fp32", "32-true"), ("bf16", "bf16-mixed")])
def test_fabric_gets_the_precision_asked_for(precision: str, name: str) -> None:
    fabric = start_fabric(precision, accelerator="cpu")
    assert fabric.strategy.precision.precision == name
    assert (fabric.world_size, fabric.device.type) == (1, "cpu")


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(UsageError, match="'fp16' needs a CUDA device"):
        start_fabric("fp16", accelerator="cpu")


def test_small_batches_use_few_threads_and_put_them_back() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        for pixels, threads in ((1, 1), (PIXELS_A_THREAD * 2, 2), (PIXELS_A_THREAD * 99, 4)):
            with limited_threads(pixels):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def launched(folder: Path, *words: str, count: int = 2) -> subprocess.Popen:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    command = [sys.executable, *launcher, "-m", "senet.cli.main", "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*command, *words], cwd=folder, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"training__unfreeze__blocks": 1, "training__unfreeze__host": 2}, {"training__accumulate": 3}],
    ids=["whole", "by parts", "accumulated"],
)
def test_two_processes_train_as_one(tmp_path: Path, options: dict[str, int]) -> None:
    """Two processes see the same batches as one; what differs is BatchNorm, which each takes over its own half."""
    recipe = tiny(training__freeze_bn_epochs=3, training__ema_decay=0.5, optim__lr=0.01, optim__clip_norm=1.0, data__workers=0, **options)
    (tmp_path / "tiny.yaml").write_text(recipe.to_yaml())
    process = launched(tmp_path, "tiny.yaml", "--folder", "two", "--json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count('"top1":') == 1
    train(override(recipe, {"training.accumulate": 1}), folder=tmp_path / "one", progress=False)
    one, two = (RunFolder(tmp_path / name) for name in ("one", "two"))
    for row, other in zip(one.metrics(), two.metrics(), strict=True):
        for name in ("step", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5"):
            assert row[name] == pytest.approx(other[name], rel=1e-4), name
    for part in ("model", "average"):
        states = [torch.load(run.checkpoint, weights_only=True)[part] for run in (one, two)]
        for name, tensor in states[0].items():
            torch.testing.assert_close(states[1][name], tensor, rtol=1e-3, atol=1e-5, msg=f"{part} {name}")


@pytest.mark.slow
def test_two_processes_share_batchnorm(tmp_path: Path) -> None:
    """Float32 is magnified by BatchNorm from step to step; with statistics of halves the losses are 7e-5 and 2e-4 apart."""
    recipe = tiny(
        training__epochs=1, training__sync_bn=True, training__ema_decay=0.5, optim__lr=0.01, optim__clip_norm=1.0, data__workers=0
    )
    (tmp_path / "tiny.yaml").write_text(recipe.to_yaml())
    process = launched(tmp_path, "tiny.yaml", "--folder", "two", "--quiet")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    train(recipe, folder=tmp_path / "one", progress=False)
    (one,), (two,) = (RunFolder(tmp_path / name).metrics() for name in ("one", "two"))
    assert two["val_loss"] == pytest.approx(one["val_loss"], rel=1e-5)
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=5e-5)


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on(tmp_path: Path) -> None:
    recipe = tiny(training__epochs=8, training__freeze_bn_epochs=2, data__batch_size=32, data__workers=0)
    (tmp_path / "tiny.yaml").write_text(recipe.to_yaml())
    process = launched(tmp_path, "tiny.yaml", "--folder", "stopped")
    run = RunFolder(tmp_path / "stopped")
    deadline = time.monotonic() + 200
    while not run.metrics() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # to the launcher, which hands it on
    _, err = process.communicate(timeout=120)
    assert "interrupted by SIGTERM" in err
    assert not run.is_finished()
    resumed, whole = (launched(tmp_path, *words) for words in (("--resume", "stopped"), ("tiny.yaml", "--folder", "whole")))
    assert [process.wait(300) for process in (resumed, whole)] == [0, 0]
    for process in (resumed, whole):
        process.communicate()
    assert_same_run(run.path, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(("before", "today"), [(1, 2), (2, 1)])
def test_another_number_of_processes_goes_on_only_if_accepted(tmp_path: Path, before: int, today: int) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny(training__epochs=1, data__batch_size=32, data__workers=0).to_yaml())

    def ended(count: int, *words: str) -> tuple[int, str]:
        process = launched(tmp_path, *words, count=count)
        _, err = process.communicate(timeout=300)
        return process.returncode, err

    assert ended(before, "tiny.yaml", "--folder", "run")[0] == 0
    run = RunFolder(tmp_path / "run")
    (run.path / "result.json").unlink()  # as if it had been stopped after its last step
    saved = run.checkpoint.read_bytes()
    code, err = ended(today, "--resume", "run")
    assert code != 0
    assert f"cannot go on as it began: processes were {before}, are {today}; put that back, or add --accept-changes" in err
    assert run.checkpoint.read_bytes() == saved
    code, err = ended(today, "--resume", "run", "--accept-changes", "--epochs", "2")
    assert code == 0, err
    assert run.result().changes == ("epoch 2: training.epochs was 1, is 2", f"epoch 2: processes were {before}, are {today}")
    assert len(run.metrics()) == 2
