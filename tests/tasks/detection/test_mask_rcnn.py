"""A network that finds outlines, through the seam: trained, resumed, evaluated, predicted, written as COCO's results."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from made_runs import assert_same_run, train_by_two, train_until
from senet.cli.main import main
from senet.comparison import measure
from senet.comparison.run import compare
from senet.data.boxes import Boxes, Outlines
from senet.data.loaders import eval_loader
from senet.errors import UsageError
from senet.results.run_folder import RunFolder
from senet.tasks.answers import average_of
from senet.tasks.registry import open_task
from senet.training.evaluate import evaluate
from senet.training.job import prepare
from senet.training.loop import train
from senet.training.members import load_members
from senet.training.predict import predict
from tasks.detection.made_rectangles import CLASSES, VAL, Rectangles, outlined, outlined_source, rectangles, tiny_boxes, tiny_masks

CPU = torch.device("cpu")
MASKS = ("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outlines") / "run"
    torch.set_num_threads(1)
    train(tiny_masks(), folder=folder, progress=False)
    return folder


def test_training_logs_metrics_of_outlines(run: Path) -> None:
    rows = RunFolder(run).metrics()
    assert len(rows) == 3
    for name in ("train_loss_mask", "val_loss", *(f"val_{name}" for name in MASKS)):
        assert all(np.isfinite(row[name]) for row in rows), name
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]


def test_a_resumed_run_is_the_same(run: Path, tmp_path: Path) -> None:
    train_until(5, tiny_masks(), tmp_path / "run")
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", run)


def test_weights_are_evaluated_as_they_were_trained_and_told_by_class(run: Path) -> None:
    best = max(RunFolder(run).metrics(), key=lambda row: (row["val_ap"], -row["val_loss"]))
    found = evaluate(run, tiny_masks().data)
    for name in ("ap", "loss", *MASKS):
        assert found.metrics[name] == pytest.approx(best[f"val_{name}"], abs=1e-4), name
    for table in ("class", "size", "position"):
        assert all(row.keys() == {"ap", "ap50", "ap75", "ar100", "objects"} for row in found.tables[table].values())
        assert all(row.keys() == {"mask_ap", "mask_ap50", "mask_ap75", "objects"} for row in found.tables[f"{table} (masks)"].values())
    boxes = evaluate(run, tiny_masks().data, changes={"detection.outlines": False})
    assert {name: found.metrics[name] for name in boxes.metrics if name != "loss"} == pytest.approx(
        {name: value for name, value in boxes.metrics.items() if name != "loss"}
    )
    assert np.isnan(boxes.metrics["loss"]), "of outlines that are not known"
    assert not any(name.startswith("mask_") for name in boxes.metrics)
    assert list(boxes.tables) == ["class", "size", "position"]


def test_batches_are_judged_as_single_images(run: Path) -> None:
    """Of images of one size: those that are padded look otherwise to the network."""
    made = replace(outlined_source(tiny_masks().data), val=outlined(rectangles(((48, 64),) * 5, 1)))
    (member,), metrics, task = load_members(run, CPU), [], open_task(tiny_masks())
    for size in (1, 3, 5):
        evaluator = task.evaluator(made, CPU)
        with torch.inference_mode():
            for batch in eval_loader(made, tiny_masks(data__batch_size=size).data, task):
                evaluator.update(average_of(task, [member.model.eval()], batch), batch)
        metrics.append({name: value for name, value in evaluator.compute().items() if name != "loss"})
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-5)
    assert metrics[0] == pytest.approx(metrics[2], rel=1e-5)


def test_predictions_are_cocos_results_and_reach_the_figures_of_evaluation(run: Path, tmp_path: Path, capsys) -> None:
    made = outlined(rectangles(VAL, 1))
    for number, image in enumerate(made.images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    found: list[Any] = [one.prediction for one in predict(run, [tmp_path])]
    results = [row for number, one in enumerate(found) for row in one.coco_results(number + 1, range(len(CLASSES)))]
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert all(row["segmentation"]["size"] == list(VAL[row["image_id"] - 1]) for row in results)
    judge = judged(coco_file(made), tmp_path / "results.json")
    assert evaluate(run, tiny_masks().data, batch_size=1).metrics["mask_ap50"] == pytest.approx(100 * judge.stats[1], abs=1e-3)
    code = ["--allow-code", tiny_masks().data.name.rpartition(":")[0]]
    words = [str(tmp_path / "0.png"), "--weights", str(run), "--json", "--overlay", str(tmp_path / "drawn"), "--out", str(tmp_path / "out")]
    assert main(["predict", *words, "--shown_score", "0", *code]) == 0
    (told,) = json.loads(capsys.readouterr().out)["predictions"]
    assert told["segmentations"] == json.loads((tmp_path / "out" / "0.json").read_text())["segmentations"]
    assert told["segmentations"] == list(found[0].outlines.shapes)
    assert len(told["segmentations"]) == len(told["boxes"]) > 0


def coco_file(images: Rectangles) -> dict[str, Any]:
    """Return what a COCO file says of made images."""
    annotations = []
    for one in images.targets:
        assert one.masks is not None
        for label, crowd, area, shape in zip(one.labels.tolist(), one.crowd.tolist(), one.area.tolist(), one.masks.shapes, strict=True):
            about = {"id": len(annotations) + 1, "image_id": one.image_id, "category_id": label, "iscrowd": int(crowd), "area": area}
            annotations.append({**about, "segmentation": shape})
    listed = [{"id": one.image_id, "height": one.size[0], "width": one.size[1]} for one in images.targets]
    return {"images": listed, "annotations": annotations, "categories": [{"id": label, "name": name} for label, name in enumerate(CLASSES)]}


def judged(told: dict[str, Any], results: Path) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = told
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(str(results)), "segm")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def broken_source(recipe: Any) -> Any:
    """Return images of which one has an outline that cannot be drawn."""
    made = outlined_source(recipe)
    images: Any = made.val
    targets = list(images.targets)
    targets[0] = replace(targets[0], masks=Outlines(([[1.0, 2.0]],) * len(targets[0])))
    return replace(made, val=replace(images, targets=targets))


def test_an_image_whose_outlines_cannot_be_drawn_counts_as_unreadable(run: Path) -> None:
    data = tiny_masks(data__name=f"{Path(__file__)}:broken_source", data__max_corrupt=0.5).data
    found = evaluate(run, data)
    assert found.images == len(VAL) - 1
    assert found.corrupt == ("rectangles 0",)


def test_networks_and_data_without_outlines_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mask_rcnn learns the outlines of objects: set detection\.outlines true"):
        prepare(tiny_masks(detection__outlines=False))
    with pytest.raises(UsageError, match=r"detection\.outlines is true, and nothing says the outlines of these boxes"):
        prepare(tiny_masks(data__name=tiny_boxes().data.name))
    for name in ("faster_rcnn", "retinanet"):
        with pytest.raises(UsageError, match=rf"model\.name '{name}' finds no outlines of objects: set detection\.outlines false"):
            prepare(tiny_masks(model__name=name, model__options={"backbone": "preresnet20"}))


def test_one_image_of_boxes_alone_among_others_is_told(run: Path) -> None:
    image, boxes = np.zeros((20, 30, 3), np.uint8), np.array([[2, 3, 9, 9]], np.float32)
    alone = Boxes(boxes, np.zeros(1, np.int64), np.zeros(1, bool), np.ones(1, np.float32), 9, (20, 30))
    made = outlined_source(tiny_masks().data)
    images: Any = made.val
    mixed = replace(made, val=replace(images, images=[*images.images, image], targets=[*images.targets, alone]))
    with pytest.raises(UsageError, match="nothing says the outlines of these boxes"):
        evaluate(run, mixed, workers=0)


def test_a_comparison_tells_outlines_by_class_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    result = compare(tiny_masks(training__epochs=1), seeds=1, out=tmp_path, progress=False)
    assert [metric.name for metric in result.metrics][-len(MASKS) :] == list(MASKS)
    for tables in result.tables.values():
        assert set(tables[0]["class (masks)"]) == set(CLASSES)
        assert set(tables[0]["size (masks)"]) == {"small"}
    (page,) = tmp_path.rglob("report.html")
    assert all(f"Mask AP % by {name} (masks)" in page.read_text() for name in ("class", "size", "position"))


@pytest.mark.slow
def test_two_processes_judge_as_one(tmp_path: Path) -> None:
    recipe = tiny_masks(training__freeze_bn_epochs=3)
    (tmp_path / "outlines.yaml").write_text(recipe.to_yaml())
    code = ["--allow-code", recipe.data.name.rpartition(":")[0]]
    train_by_two(["outlines.yaml", "--data.name", recipe.data.name, "--folder", "two", "--json", *code], tmp_path)
    best = max(RunFolder(tmp_path / "two").metrics(), key=lambda row: (row["val_ap"], -row["val_loss"]))
    alone = evaluate(tmp_path / "two" / "best.safetensors", tiny_masks(data__eval_batch_size=1).data).metrics
    for name in ("ap", *MASKS):
        assert best[f"val_{name}"] == pytest.approx(alone[name], rel=1e-3, abs=0.1), name
