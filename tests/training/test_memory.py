"""Memory that runs out is one line that says what to lower, be it a device's, the host's, or that of NumPy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from made_runs import tiny
from senet.cli.main import main
from senet.measuring.exhaustion import is_out_of_memory
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.checkpoint import read_checkpoint
from senet.training.job import Job
from senet.training.loop import train
from senet.training.memory import MemoryExhaustedError, memory_named
from senet.training.step import train_step

PEBIBYTE = 2**50
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.25 GiB of which 12.38 MiB is free. Including "
    "non-PyTorch memory, this process has 79.22 GiB memory in use."
)


def no_cuda_memory() -> None:
    raise torch.OutOfMemoryError(CUDA)


EXHAUSTING: dict[str, tuple[Callable[[], object], str]] = {
    "torch": (
        lambda: torch.empty(PEBIBYTE, dtype=torch.uint8),
        rf"the memory of the host ran out when {PEBIBYTE} bytes more were asked for",
    ),
    "NumPy": (lambda: np.empty(PEBIBYTE, np.uint8), r"the memory of the host ran out when 1\.00 PiB more were asked for"),
    "Python": (lambda: bytes(PEBIBYTE), "the memory of the host ran out"),
    "CUDA": (no_cuda_memory, r"the memory of a CUDA device ran out when 20\.00 MiB more were asked for"),
}


def run_out(recipe: Recipe, run: RunFolder, exhaust: Callable[[], object]) -> None:
    with memory_named(recipe, run):
        exhaust()


@pytest.mark.parametrize("name", EXHAUSTING)
def test_what_ran_out_is_said(name: str, tmp_path: Path) -> None:
    exhaust, words = EXHAUSTING[name]
    with pytest.raises(
        MemoryExhaustedError,
        match=rf"^{words}: take steps in 2 parts, .*, or lower data\.batch_size \(it is 256\), data\.image_size, .*begin again$",
    ):
        run_out(tiny(), RunFolder(tmp_path), exhaust)


def test_what_cannot_be_lowered_is_not_advised(tmp_path: Path) -> None:
    recipe = tiny(data__batch_size=1, data__eval_batch_size=8, data__workers=0, training__precision="bf16")
    with pytest.raises(MemoryExhaustedError, match=r": lower data\.eval_batch_size \(it is 8\), data\.image_size; nothing has been saved"):
        run_out(recipe, RunFolder(tmp_path), no_cuda_memory)


@pytest.mark.parametrize("error", [RuntimeError("sizes of tensors must match"), ValueError("CUDA out of memory"), OSError(12, "no")])
def test_other_errors_are_what_they_were(error: Exception, tmp_path: Path) -> None:
    assert not is_out_of_memory(error)

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        run_out(tiny(), RunFolder(tmp_path), fail)
    assert raised.value is error


@pytest.mark.parametrize("words", ["CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDA error: out of memory"])
def test_libraries_of_the_device_say_it_in_their_own_words(words: str) -> None:
    assert is_out_of_memory(RuntimeError(words))


def test_a_run_that_ran_out_goes_on_with_less_as_the_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(tiny(training__epochs=2).to_yaml())

    def exhausting(job: Job, *args):
        if job.state.step == 6:
            torch.empty(PEBIBYTE, dtype=torch.uint8)
        return train_step(job, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", exhausting)
        assert main(["train", "tiny.yaml", "--folder", "run", "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("senet train: the memory of the host ran out when ")
    assert read_checkpoint(Path("run", "last.ckpt"))["epoch"] == 1
    command = line.rpartition("go on with `senet ")[2].removesuffix("`").split()
    assert command == ["train", "--resume", "run", "--data.batch_size", "128", "--accept-changes"]
    assert main([*command, "--quiet"]) == 0
    assert RunFolder(Path("run")).is_finished()


def test_a_network_that_has_no_room_is_not_said_to_refuse_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.training.job.inputs_of", lambda *args: torch.empty(PEBIBYTE, dtype=torch.uint8))
    with pytest.raises(MemoryExhaustedError, match="the memory of the host ran out"):
        train(tiny(), folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
