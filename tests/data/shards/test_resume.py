"""Processes that are killed and go on, as many as before or not, take each image of the epoch once."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data.shards.made_folder import open_shards, sharded
from faults.forked import fork
from made_runs import assert_same_run
from process_ends import SECONDS
from senet.data.loaders import train_loader
from senet.data.source import DataSource
from senet.recipe import DataRecipe, Recipe, build_recipe
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.job import Job
from senet.training.loop import train
from senet.training.step import train_step

EPOCH, BATCH = 2, 6
"""The epoch that is interrupted, and images in a batch over all processes: six batches of it."""


def recipe(sampler: str, workers: int = 1) -> DataRecipe:
    return DataRecipe(image_size=8, batch_size=BATCH, workers=workers, sampler=sampler)  # pyright: ignore[reportArgumentType]


def end_of(process: BaseProcess) -> int | None:
    """Wait for the end of a process that loads images in processes of its own, which takes long on a busy machine; return its exit code."""
    process.join(5 * SECONDS)
    return process.exitcode


def walk(open_source: Callable[[], DataSource], data: DataRecipe, start: int, place: dict[str, int], log: Path, killed_before: int) -> None:
    """Take the batches of one process, write down which images each holds, and die before one of them is noted as done."""
    loader = train_loader(open_source(), data, seed=0, rank=place["rank"], world=place["world"])
    with log.open("a") as file:
        for number, batch in enumerate(loader.epoch(EPOCH, start), start):
            if number == killed_before:
                os.kill(os.getpid(), signal.SIGKILL)
            file.write(f"{number}: {' '.join(map(str, batch.indices))}\n")
            file.flush()


def walked(
    open_source: Callable[[], DataSource], data: DataRecipe, folder: Path, *, world: int, start: int = 0, killed_before: int = -1
) -> dict[int, list[int]]:
    """Let processes walk through the epoch; return which images each batch held that all of them took."""
    folder.mkdir(parents=True)
    places = [{"rank": rank, "world": world} for rank in range(world)]
    works = [lambda place=place: walk(open_source, data, start, place, folder / str(place["rank"]), killed_before) for place in places]
    processes = [fork(work, folder / "told") for work in works]
    ends = {end_of(process) for process in processes}
    assert ends == ({0} if killed_before < 0 else {-signal.SIGKILL}), (folder / "told").read_text()
    batches: dict[int, list[int]] = {}
    for rank in range(world):
        for line in (folder / str(rank)).read_text().splitlines():
            number, _, images = line.partition(":")
            batches.setdefault(int(number), []).extend(map(int, images.split()))
    return {number: sorted(images) for number, images in batches.items()}


def check_exactly_once(
    open_source: Callable[[], DataSource], sampler: str, ranks: Sequence[int], workers: Sequence[int], folder: Path
) -> None:
    whole = walked(open_source, recipe(sampler, workers=0), folder / "whole", world=1)
    found: dict[int, list[int]] = {}
    for part, (world, processes) in enumerate(zip(ranks, workers, strict=True)):
        end = len(found) + 2 if part < len(ranks) - 1 else -1
        found |= walked(open_source, recipe(sampler, processes), folder / str(part), world=world, start=len(found), killed_before=end)
    assert found == whole
    counts = Counter(image for images in found.values() for image in images)
    if sampler != "class_aware":
        assert counts == dict.fromkeys(range(36), 1), "an image was repeated or skipped"


@pytest.mark.parametrize("sampler", ["shuffle", "class_aware", "by_shard"])
def test_killed_twice_with_other_ranks_and_workers_each_image_is_taken_once(shards: Path, tmp_path: Path, sampler: str) -> None:
    check_exactly_once(lambda: open_shards(shards, sampler=sampler), sampler, ranks=(2, 3, 1), workers=(1, 0, 2), folder=tmp_path)


def test_on_an_object_store_with_less_room_than_shards(
    bucket: str, shards: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(path.stat().st_size for path in shards.glob("*.tar"))
    monkeypatch.setenv("SENET_SHARDS_GB", str(10.1 * size / 1e9))
    check_exactly_once(lambda: open_shards(bucket, sampler="by_shard"), "by_shard", ranks=(2, 1), workers=(1, 1), folder=tmp_path / "walks")
    assert len(list(kept.glob("*/*.tar"))) <= 10 + 2, "two ranks may exceed it by one each"


def test_class_aware_batches_have_as_many_images_of_each_class(shards: Path, tmp_path: Path) -> None:
    found = walked(lambda: open_shards(shards), recipe("class_aware"), tmp_path / "walk", world=2)
    targets = sharded(open_shards(shards).train).targets
    assert [np.bincount(np.take(targets, images)).tolist() for images in found.values()] == [[2, 2, 2]] * 6


def experiment(root: Path, name: str, **changes: object) -> Recipe:
    tree = {
        "name": "pets",
        "model": {"name": "cifar_resnet20", "block": "se"},
        "data": {"name": name, "root": str(root), "image_size": 8, "eval_resize": 8, "flip": True, "batch_size": 12, "workers": 1},
        "training": {"epochs": 2, "save_steps": 1},
    }
    return build_recipe(tree, dict(changes))


def killed_training(recipe: Recipe, folder: Path) -> Callable[[], None]:
    def killed(job: Job, *args):
        if job.state.step == 4:  # in the middle of the second epoch
            os.kill(os.getpid(), signal.SIGKILL)
        return train_step(job, *args)

    def work() -> None:
        loop.train_step = killed
        train(recipe, folder=folder, progress=False)

    return work


def test_a_run_on_an_object_store_that_is_killed_goes_on_to_the_weights_of_the_folder(bucket: str, folder: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe, run = experiment(Path(), "shards", **{"data.root": bucket}), RunFolder(tmp_path / "run")
    assert end_of(fork(killed_training(recipe, run.path), tmp_path / "told")) == -signal.SIGKILL, (tmp_path / "told").read_text()
    train(resume=run.path, progress=False)
    train(recipe, folder=tmp_path / "whole", progress=False)
    assert_same_run(run.path, tmp_path / "whole")
    train(experiment(folder, "folder"), folder=tmp_path / "files", progress=False)
    weights = [load_file(RunFolder(path).weights) for path in (run.path, tmp_path / "files")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["shuffle", "by_shard"])
def test_the_command_killed_with_two_processes_goes_on_with_one_and_takes_each_image_once(
    shards: Path, tmp_path: Path, sampler: str
) -> None:
    (tmp_path / "counted.py").write_text(Path(__file__).with_name("counted_source.py").read_text())
    changes = {"data.workers": 0, "data.sampler": sampler, "data.batch_size": BATCH}
    (tmp_path / "pets.yaml").write_text(experiment(shards, "counted.py:photos", **changes).to_yaml())

    def command(reads: str, at_most: int, *words: str) -> int:
        environment = os.environ | {"READS": reads, "READS_AT_MOST": str(at_most), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        done = subprocess.run(
            [sys.executable, "-m", "senet", "train", *words], cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False
        )
        return done.returncode

    images = 36
    own = images // 2
    assert command("two", own + 2 * BATCH + 1, "pets.yaml", "--devices", "2", "--folder", "run") != 0
    done = torch.load(RunFolder(tmp_path / "run").checkpoint, weights_only=True)
    assert (done["epoch"], done["batch"] > 0) == (1, True)
    assert command("one", 1000, "--resume", "run", "--accept-changes") == 0
    before = [(tmp_path / f"two.{rank}").read_text().split()[own : own + done["batch"] * BATCH // 2] for rank in range(2)]
    after = (tmp_path / "one.0").read_text().split()
    assert sorted(map(int, [*before[0], *before[1], *after])) == list(range(images))
