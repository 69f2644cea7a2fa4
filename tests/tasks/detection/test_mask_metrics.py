"""Metrics of outlines against pycocotools; the same figures in any order, batches and processes; boxes are judged as without them."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch.multiprocessing import start_processes

from senet.data.batch import Batch
from senet.data.boxes import Boxes, Outlines
from senet.errors import UsageError
from senet.tasks.detection.evaluator import BOX_METRICS, BoxScores, box_metrics
from senet.tasks.detection.judged_kinds import MASK_KIND
from tasks.detection.made_detections import CLASSES, Found
from tasks.detection.made_outlines import judged_outlines, made_outlines, turned

CPU = torch.device("cpu")


def scores(truths: Sequence[Boxes], founds: Sequence[Found], order: Sequence[int] | None = None, *, outlines: bool = True) -> BoxScores:
    made = BoxScores(CLASSES, truths, CPU, outlines=outlines)
    for index in range(len(truths)) if order is None else order:
        made.update(({}, [founds[index]]), Batch(None, None, [], [index]))
    return made


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    """Crowd, ties, an image without objects and one without detections, detections without a pixel, an image that is turned."""
    truths, founds = made_outlines(seed)
    theirs = judged_outlines(truths, founds)
    made = scores([*truths[:-1], turned(truths[-1])], founds)
    found, tables = made.compute(), made.tables()
    names = ("mask_ap", "mask_ap50", "mask_ap75", "mask_ap_small", "mask_ap_medium", "mask_ap_large")
    wanted = {name: 100 * value for name, value in zip(names, theirs.stats[:6], strict=True) if value > -1}
    assert {name: value for name, value in found.items() if name.startswith("mask_")} == pytest.approx(wanted, abs=1e-10)
    assert 5 < found["mask_ap"] < 95
    precision = theirs.eval["precision"][..., -1]
    for label, name in enumerate(CLASSES):
        row = {column: value for column, value in tables["class (masks)"][name].items() if column != "objects"}
        assert tables["class (masks)"][name]["objects"] == tables["class"][name]["objects"]
        of_class = 100 * precision[:, :, label, 0].mean(1)
        if tables["class"][name]["objects"]:
            assert row == pytest.approx({"mask_ap": of_class.mean(), "mask_ap50": of_class[0], "mask_ap75": of_class[5]}, abs=1e-10)
        else:
            assert row == {"mask_ap": None, "mask_ap50": None, "mask_ap75": None}
    for place, size in enumerate(("small", "medium", "large"), 1):
        there = precision[:, :, :, place]
        assert tables["size (masks)"][size]["mask_ap"] == pytest.approx(100 * there[there > -1].mean(), abs=1e-10)


def test_boxes_are_judged_as_without_outlines() -> None:
    truths, founds = made_outlines(5)
    made, plain = scores(truths, founds), scores(truths, founds, outlines=False)
    assert [metric.name for metric in made.metrics[: len(plain.metrics)]] == [metric.name for metric in plain.metrics]
    found, alone = made.compute(), plain.compute()
    assert {name: found[name] for name in alone} == pytest.approx(alone, nan_ok=True, abs=0)
    assert {name for name in found if name not in alone} == {metric.name for metric in made.metrics[len(plain.metrics) :]}
    assert all(name.startswith("mask_") for name in found if name not in alone)
    assert {table: rows for table, rows in made.tables().items() if "(masks)" not in table} == plain.tables()
    assert list(made.tables())[3:] == [f"{table} (masks)" for table in plain.tables()]


def test_an_outline_that_is_its_box_is_judged_as_the_box() -> None:
    """Objects on whole pixels, so that outlines have the overlaps that boxes have."""
    random = np.random.default_rng(3)

    def boxed(count: int) -> tuple[np.ndarray, Outlines]:
        corner = random.integers(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + random.integers(20, 60, (count, 2))], 1).astype(np.float32)
        shapes = [[[left, top, right, top, right, bottom, left, bottom]] for left, top, right, bottom in boxes.tolist()]
        return boxes, Outlines(tuple(shapes))

    boxes, masks = boxed(12)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    truth = Boxes(boxes, random.integers(2, size=12), np.zeros(12, bool), area, 1, (120, 120), masks)
    seen, outlines = boxed(40)
    found = {
        "boxes": torch.from_numpy(np.concatenate([boxes, seen])),
        "labels": torch.from_numpy(random.integers(2, size=52)),
        "scores": torch.from_numpy(random.random(52)).float(),
        "masks": Outlines((*masks.runs(120, 120), *outlines.runs(120, 120))),
    }
    made = scores([truth], [found])
    figures = made.compute()
    assert 5 < figures["ap"] < 95
    for name, value in figures.items():
        if name.startswith("mask_"):
            assert value == pytest.approx(figures[name.removeprefix("mask_")], abs=1e-10), name
    tables = made.tables()
    assert list(tables["position (masks)"]) == list(tables["position"]) == ["touching the border", "inside"]
    for position, row in tables["position (masks)"].items():
        assert row["mask_ap"] == pytest.approx(tables["position"][position]["ap"], abs=1e-10)
    curves = made.curves()
    assert list(curves) == ["IoU 0.5", "IoU 0.75", "IoU 0.5 (masks)", "IoU 0.75 (masks)"]
    for name, line in curves["IoU 0.75"].lines.items():
        assert curves["IoU 0.75 (masks)"].lines[name] == pytest.approx(line, abs=1e-10)


def test_order_of_images_and_batches_changes_nothing() -> None:
    truths, founds = made_outlines(2)
    made, turned = scores(truths, founds), scores(truths, founds, order=[4, 1, 5, 0, 3, 2])
    together = BoxScores(CLASSES, truths, CPU, outlines=True)
    together.update(({}, founds), Batch(None, None, [], range(len(truths))))
    for other in (turned, together):
        assert {**other.compute(), "loss": 0} == {**made.compute(), "loss": 0}
        assert other.tables() == made.tables()


def test_outlines_that_are_missing_or_of_another_size_are_refused() -> None:
    truths, founds = made_outlines(2)
    alone = [{name: value for name, value in found.items() if name != "masks"} for found in founds]
    with pytest.raises(UsageError, match=r"detection\.outlines is true, and the network finds no outlines"):
        scores(truths, alone)
    small = Outlines(tuple({**shape, "size": [300, 200]} for shape in founds[0]["masks"].shapes))
    with pytest.raises(ValueError, match=r"image 50 of size \(200, 300\) needs \d+ outlines of this size"):
        scores(truths[:1], [{**founds[0], "masks": small}])


def test_without_objects_there_is_no_figure() -> None:
    empty = Boxes(np.zeros((0, 4), "f4"), np.zeros(0, "i8"), np.zeros(0, bool), np.zeros(0, "f4"), 1, (200, 300), Outlines(()))
    assert box_metrics([empty], outlines=True) == (*BOX_METRICS, *MASK_KIND.metrics)
    _, founds = made_outlines(1)
    for made in (scores([empty], founds[:1]), scores([empty], founds[3:4]), scores([], [])):
        assert all(np.isnan(value) for value in made.compute().values())


def test_processes_reach_the_figures_of_one(tmp_path) -> None:
    """Once with half of the images each, once with all in the first."""
    truths, founds = made_outlines(9)
    start_processes(judge_share, (str(tmp_path), truths, founds), nprocs=2, start_method="fork")
    wanted = scores(truths, founds)
    for rank in range(2):
        for metrics, tables in torch.load(tmp_path / f"{rank}.pt", weights_only=True):
            assert metrics == pytest.approx(wanted.compute(), nan_ok=True, abs=0)
            assert tables == wanted.tables()


def judge_share(rank: int, folder: str, truths: list[Boxes], founds: list[Found]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    told = []
    for shares in (((0, 2, 4), (1, 3, 5)), (range(6), ())):
        made = scores(truths, founds, order=shares[rank])
        told.append((made.compute(), made.tables()))
    torch.save(told, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
