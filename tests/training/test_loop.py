"""The loop trains, records what it does, and does every option that a recipe names."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from made_runs import assert_same_run, tiny
from senet.data.batch import Batch
from senet.data.loaders import DataError, eval_loader
from senet.data.source import open_data
from senet.errors import UsageError
from senet.models.create import from_pretrained
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.training import loop
from senet.training.job import Job, prepare
from senet.training.loop import train
from senet.training.seeding import seed_of
from senet.training.state import DivergenceError
from senet.training.step import DeviceStep, train_step
from senet.weights.store import read_metadata


def trained(folder: Path, **changes) -> RunFolder:
    train(tiny(**changes), folder=folder, progress=False)
    return RunFolder(folder)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint, weights_only=True)["model"]


def test_a_run_learns_and_leaves_all_its_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    result = train(tiny(training__epochs=6), folder=tmp_path / "run", label="six")
    run = RunFolder(tmp_path / "run")
    rows = run.metrics()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20, 24]
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]
    assert result.metrics["top1"] == pytest.approx(max(row["val_top1"] for row in rows))
    assert result.metrics["top1"] > 40
    assert result == run.result()
    assert {path.name for path in run.path.iterdir()} == {
        "recipe.yaml",
        "environment.json",
        "origin.json",
        "metrics.csv",
        "last.ckpt",
        "best.safetensors",
        "result.json",
        "SHA256SUMS",
        ".lock",
    }
    assert json.loads((run.path / "environment.json").read_text())["packages"]["torch"] == version("torch")
    assert [line.split("  ")[1] for line in capsys.readouterr().err.splitlines()] == [f"epoch {n}/6" for n in range(1, 7)]


def test_the_best_weights_are_saved_with_all_that_is_needed_to_use_them(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    result, metadata = run.result(), read_metadata(run.weights)
    assert metadata.model["name"] == "se_cifar_resnet20"
    assert metadata.classes == tuple("0123456789")
    assert metadata.input == open_data(tiny().data).input
    assert metadata.recipe == tiny().to_dict()
    numbers = {f"val_{name}": value for name, value in result.metrics.items()}
    described = [metric.to_dict() for metric in result.about]
    assert metadata.extra == {"epoch": result.best_epoch, **numbers, "val_metrics": described}
    model = from_pretrained(run.weights)
    hits = images = 0
    for batch in eval_loader(open_data(tiny().data), tiny().data):
        hits += int((model(batch.images).argmax(1) == batch.targets).sum())
        images += len(batch.targets)
    assert 100 * hits / images == pytest.approx(result.metrics["top1"])


def test_the_same_recipe_gives_the_same_run_with_any_number_of_workers(tmp_path: Path) -> None:
    trained(tmp_path / "none", data__workers=0)
    trained(tmp_path / "two", data__workers=2)
    assert_same_run(tmp_path / "none", tmp_path / "two")


AUGMENTED = {"data__crop": "pad", "data__pad": 1, "data__flip": True, "data__rotation": 10.0, "data__jitter": 5.0, "data__cutout": 2}


@pytest.mark.parametrize("changes", [AUGMENTED, {"data__crop": "random_resized", "data__sampler": "class_aware"}])
def test_images_on_the_device_give_the_same_run(tmp_path: Path, changes: dict) -> None:
    for name, choice in (("device", True), ("host", False)):
        trained(tmp_path / name, **changes, data__on_device=choice)
    assert_same_run(tmp_path / "device", tmp_path / "host")


def test_a_run_begun_on_the_host_goes_on_with_images_on_the_device(tmp_path: Path) -> None:
    whole, half = trained(tmp_path / "whole", **AUGMENTED), tmp_path / "half"
    recipe = tiny(**AUGMENTED)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "finish_epoch", _interrupted_at_the_end(loop.finish_epoch))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, folder=half, progress=False)
    train(replace(recipe, data=replace(recipe.data, on_device=True)), resume=half, progress=False)
    assert_same_run(half, whole.path)


def _interrupted_at_the_end(finish: Callable[..., None]) -> Callable[..., None]:
    def finish_and_stop(*arguments: Any) -> None:
        finish(*arguments)
        raise KeyboardInterrupt

    return finish_and_stop


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    first, second = (trained(tmp_path / str(seed), seed=seed, training__epochs=1) for seed in (0, 1))
    assert first.metrics()[0]["train_loss"] != second.metrics()[0]["train_loss"]


def straight(recipe: Recipe) -> tuple[nn.Module, list[float]]:
    """Train by PyTorch alone: no Fabric, no tally, no wrapper; one process, fp32, constant rate."""
    job = prepare(recipe)  # for the same data and the same initial weights
    model = job.model.train()
    sgd = torch.optim.SGD(model.parameters(), lr=recipe.optim.lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
    losses = []
    for epoch in range(recipe.training.epochs):
        for batch in job.batches.epoch(epoch):
            loss = nn.functional.cross_entropy(model(batch.images.to(memory_format=job.layout)), batch.targets)
            sgd.zero_grad()
            loss.backward()
            if recipe.optim.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_norm)
            sgd.step()
            losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("changes", [{}, {"optim__clip_norm": 0.5}, {"training__channels_last": False}], ids=str)
def test_the_loop_is_plain_sgd(tmp_path: Path, changes: dict) -> None:
    model, losses = straight(tiny(**changes))
    run = trained(tmp_path / "run", **changes)
    found = weights(run)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, found[name]), name
    assert [row["train_loss"] for row in run.metrics()] == pytest.approx([sum(losses[i : i + 4]) / 4 for i in (0, 4, 8)], rel=1e-6)


def test_every_step_has_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []

    def watched(job: Job, *args):
        found = train_step(job, *args)
        rates.append(job.optimizer.param_groups[0]["lr"])
        return found

    monkeypatch.setattr(loop, "train_step", watched)
    run = trained(tmp_path / "run", schedule__name="step", schedule__milestones=[1, 2], schedule__warmup_steps=2)
    assert rates == pytest.approx([0.01, 0.055, 0.1, 0.1] + [0.01] * 4 + [0.001] * 4)
    assert [row["lr"] for row in run.metrics()] == pytest.approx([0.1, 0.01, 0.001])


def test_plateau_ends_the_run_early(tmp_path: Path) -> None:
    changes = {"schedule__name": "plateau", "schedule__patience": 1, "schedule__max_drops": 0}
    run = trained(tmp_path / "run", optim__lr=1e-9, optim__momentum=0.0, optim__nesterov=False, training__epochs=50, **changes)
    epochs = run.result().epochs
    losses = [row["val_loss"] for row in run.metrics()]
    assert len(losses) == epochs < 50
    assert losses[-1] >= min(losses[:-1])
    assert all(loss < min(losses[:index]) for index, loss in enumerate(losses[:-1]) if index)


def test_batchnorm_stands_still_for_the_last_epochs_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    finish_epoch = loop.finish_epoch

    def watched(job: Job, *args) -> None:
        finish_epoch(job, *args)
        norms = [module for module in job.model.modules() if isinstance(module, nn.BatchNorm2d)]
        seen.append([torch.cat([tensor.flatten() for tensor in norm.state_dict().values()]) for norm in norms])

    monkeypatch.setattr(loop, "finish_epoch", watched)
    run = trained(tmp_path / "run", training__freeze_bn_epochs=2)
    first, second, third = seen
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert all(torch.equal(*pair) for pair in zip(second, third, strict=True))
    assert all(norm[-1] == 4 for norm in third)  # num_batches_tracked: the steps of the first epoch
    assert run.metrics()[2]["train_loss"] < run.metrics()[1]["train_loss"]


def test_the_average_is_torchs_and_it_is_what_is_validated_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    averages = []

    def watched(job: Job, *args):
        if not averages:
            averages.append(AveragedModel(job.model, multi_avg_fn=get_ema_multi_avg_fn(0.8), use_buffers=True))
        found = train_step(job, *args)
        averages[0].update_parameters(job.model)
        return found

    monkeypatch.setattr(loop, "train_step", watched)
    run = trained(tmp_path / "run", training__ema_decay=0.8)
    wanted = averages[0].module.state_dict()
    saved = torch.load(run.checkpoint, weights_only=True)["average"]
    assert all(torch.equal(saved[f"module.{name}"], tensor) for name, tensor in wanted.items())
    assert not torch.equal(weights(run)["fc.weight"], wanted["fc.weight"])
    if run.result().best_epoch == 3:
        assert torch.equal(from_pretrained(run.weights).state_dict()["fc.weight"], wanted["fc.weight"])
    model = averages[0].module.eval()
    (batch,) = eval_loader(open_data(tiny().data), tiny(data__eval_batch_size=1000).data)
    hits = (model(batch.images).argmax(1) == batch.targets).float().mean().item()
    assert run.metrics()[-1]["val_top1"] == pytest.approx(100 * hits)


def test_bf16_trains_with_float32_weights(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", training__precision="bf16", training__epochs=4)
    assert weights(run)["fc.weight"].dtype == torch.float32
    rows = run.metrics()
    assert rows[-1]["train_loss"] < 0.7 * rows[0]["train_loss"]
    full = trained(tmp_path / "full", training__epochs=1)
    assert rows[0]["train_loss"] != full.metrics()[0]["train_loss"]
    assert rows[0]["train_loss"] == pytest.approx(full.metrics()[0]["train_loss"], rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, where fp16 works")
def test_fp16_without_a_gpu_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'fp16' needs a CUDA device, and there is none here"):
        train(tiny(training__precision="fp16"), folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_label_smoothing_reaches_the_loss(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", training__label_smoothing=0.5, training__epochs=1, optim__lr=1e-9, data__batch_size=2000)
    assert run.metrics()[0]["train_loss"] == pytest.approx(first_loss(0.5), rel=1e-5)
    assert first_loss(0.5) != pytest.approx(first_loss(0.0), rel=1e-3)


def first_loss(smoothing: float) -> float:
    job = prepare(tiny(data__batch_size=2000))
    (batch,) = job.batches.epoch(0)
    return nn.functional.cross_entropy(job.model.train()(batch.images), batch.targets, label_smoothing=smoothing).item()


@pytest.mark.slow
def test_compile_gives_the_same_training_to_rounding(tmp_path: Path) -> None:
    compiled, plain = (trained(tmp_path / str(on), training__compile=on, training__epochs=1) for on in (True, False))
    assert compiled.metrics()[0]["train_loss"] == pytest.approx(plain.metrics()[0]["train_loss"], rel=1e-3)
    assert weights(compiled).keys() == weights(plain).keys()


@pytest.mark.parametrize("refresh", [0.0, 100.0], ids=["noticed at once", "noticed at the epoch's end"])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refresh: float
) -> None:
    monkeypatch.setattr("senet.training.progress.REFRESH", refresh)

    def poisoned(job: Job, step: DeviceStep, batch: Batch):
        return train_step(job, step, batch._replace(images=batch.images * (torch.nan if job.state.step == 6 else 1)))

    monkeypatch.setattr(loop, "train_step", poisoned)
    with pytest.raises(DivergenceError, match=r"not finite at epoch 2, step 7, learning rate 0\.1; last\.ckpt is from before") as raised:
        train(tiny(), folder=tmp_path, progress=False)
    assert "\n" not in str(raised.value)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 0)
    assert all(torch.isfinite(tensor).all() for tensor in state["model"].values())
    assert not RunFolder(tmp_path).is_finished()


def test_before_the_first_checkpoint_a_divergence_says_that_nothing_was_saved(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"^the training loss is not finite at epoch 1, .*; nothing has been saved yet\. Try"):
        train(tiny(optim__lr=1e6), folder=tmp_path, progress=False)
    assert not (tmp_path / "last.ckpt").exists()


def only_standard_json(folder: Path) -> None:
    for path in folder.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["loss", "top1"])
def test_a_figure_of_validation_that_is_not_finite_is_a_divergence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    validate, best = loop.validate, []

    def poisoned(job: Job, *args):
        found = validate(job, *args)
        if job.state.epoch == 0:
            return found
        best.append((tmp_path / "best.safetensors").read_bytes())
        return replace(found, metrics={**found.metrics, name: value})

    monkeypatch.setattr(loop, "validate", poisoned)
    with pytest.raises(DivergenceError, match=rf"^val_{name} is not finite at epoch 2, step 8, .*; last\.ckpt is from before\. Try"):
        train(tiny(), folder=tmp_path, progress=False)
    assert [(tmp_path / "best.safetensors").read_bytes()] == best
    assert len(RunFolder(tmp_path).metrics()) == 1
    assert not RunFolder(tmp_path).is_finished()
    only_standard_json(tmp_path)


def test_an_average_that_diverges_ends_the_run_though_training_does_not_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    validate = loop.validate

    def overflown(job: Job, *args):
        assert job.average is not None
        if job.state.epoch == 1:
            next(job.average.module.parameters()).data.fill_(math.inf)
        return validate(job, *args)

    monkeypatch.setattr(loop, "validate", overflown)
    with pytest.raises(DivergenceError, match=r"^val_loss is not finite at epoch 2"):
        train(tiny(training__ema_decay=0.99), folder=tmp_path, progress=False)
    assert not RunFolder(tmp_path).is_finished()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training__freeze_bn_epochs": 4}, "training.freeze_bn_epochs 4 cannot exceed training.epochs 3"),
        ({"training__ema_decay": 1.0}, "training.ema_decay must be between 0 and 1"),
        ({"optim__momentum": 0.0}, "optim.nesterov needs optim.momentum"),
        ({"model__name": "resnet19"}, "unknown model 'resnet19'"),
        ({"data__name": "folder"}, "folder needs --data.root"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_recipe_that_cannot_work_is_one_line_before_anything_is_written(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(tiny(**changes), folder=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_a_warmup_that_would_not_end_is_shortened_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train(tiny(schedule__warmup_steps=12), folder=tmp_path, progress=False)
    assert "schedule.warmup_steps 12 does not end within a run of 12 steps: the warm-up takes 1 of them" in caplog.messages
    assert RunFolder(tmp_path).recipe().schedule.warmup_steps == 12


def folder_recipe(root: Path, **changes) -> Recipe:
    data = {"data__name": "folder", "data__root": str(root), "data__image_size": 16, "data__batch_size": 8, "data__crop": "none"}
    return tiny(**data, model__name="cifar_resnet20", data__rotation=0, data__workers=0, **changes)


@pytest.fixture
def images(shared_data: Path, tmp_path: Path) -> Path:
    """Return 2 classes of 10 + 5 real photographs, of which one training image is cut short."""
    files = sorted((shared_data / "imagenet1k_sample" / "images").iterdir())[:30]
    for number, file in enumerate(files):
        folder = tmp_path / "data" / ("train" if number < 20 else "val") / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        content = file.read_bytes()
        (folder / file.name).write_bytes(content[:300] if number == 4 else content)
    return tmp_path / "data"


def test_a_corrupt_image_is_named_counted_and_replaced(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(folder_recipe(images, data__max_corrupt=0.1, training__epochs=2), folder=tmp_path / "run")
    err = capsys.readouterr().err
    assert err.count("another image takes its place") == 1
    assert "cannot read train/class0/" in err
    assert [row["corrupt"] for row in RunFolder(tmp_path / "run").metrics()] == [1, 1]


def test_too_many_corrupt_images_end_the_run(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 30 images cannot be read"):
        train(folder_recipe(images), folder=tmp_path / "run", progress=False)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", "no image of a training batch can be read"),
        ("val", "not one validation image can be read, so that nothing can be measured"),
    ],
)
def test_a_split_without_one_readable_image_is_one_line(images: Path, tmp_path: Path, split: str, message: str) -> None:
    for path in (images / split).rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=message) as raised:
        train(folder_recipe(images, data__max_corrupt=1.0), folder=tmp_path / "run", progress=False)
    assert "\n" not in str(raised.value)


def test_seeds_of_neighbours_are_unrelated() -> None:
    seeds = {seed_of(seed, "step", step, rank) for seed in range(5) for step in range(50) for rank in range(2)}
    assert len(seeds) == 500
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert abs(sum(seeds) / len(seeds) / 2**62 - 1) < 0.1
