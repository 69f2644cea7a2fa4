"""Metrics of boxes against pycocotools and loops; what is absent; the same figures in any order, batches and processes."""

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch.multiprocessing import start_processes

from senet.data.batch import Batch
from senet.data.boxes import Boxes
from senet.results.curves import plain_curves
from senet.tasks.detection.border import touches_border
from senet.tasks.detection.evaluator import BOX_METRICS, BoxScores, box_metrics
from senet.tasks.detection.judged_images import OBJECT_SIZES, image_ap
from tasks.detection.made_detections import CLASSES, Found, coco_dicts, made_found, made_images, made_truth, slow_ap

CPU = torch.device("cpu")


def scores(truths: Sequence[Boxes], founds: Sequence[Found], order: Sequence[int] | None = None) -> BoxScores:
    made = BoxScores(CLASSES, truths, CPU)
    for index in range(len(truths)) if order is None else order:
        made.update(({}, [founds[index]]), Batch(None, None, [], [index]))
    return made


def judged_by_pycocotools(truths: Sequence[Boxes], founds: Sequence[Found]) -> COCOeval:
    told, results = coco_dicts(truths, founds)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = told
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge


def assert_same(truths: Sequence[Boxes], founds: Sequence[Found]) -> None:
    theirs = judged_by_pycocotools(truths, founds)
    made = scores(truths, founds)
    found, tables, curves = made.compute(), made.tables(), made.curves()
    names = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    wanted = {name: 100 * value for name, value in zip(names, theirs.stats[:6], strict=True) if value > -1} | {
        "ar100": 100 * theirs.stats[8]
    }
    assert {name: found[name] for name in found if name != "loss"} == pytest.approx(wanted, abs=1e-10)
    precision, recall = theirs.eval["precision"][..., -1], theirs.eval["recall"][..., -1]
    for label, name in enumerate(CLASSES):
        row = tables["class"][name]
        if not row["objects"]:
            assert row == {"ap": None, "ap50": None, "ap75": None, "ar100": None, "objects": 0}
            assert (precision[:, :, label] == -1).all()
            continue
        of_class = precision[:, :, label, 0].mean(1)
        wanted = {"ap": of_class.mean(), "ap50": of_class[0], "ap75": of_class[5], "ar100": recall[:, label, 0].mean()}
        assert row == pytest.approx({**{column: 100 * value for column, value in wanted.items()}, "objects": row["objects"]}, abs=1e-10)
        assert curves["IoU 0.75"].lines[name] == pytest.approx(100 * precision[5, :, label, 0], abs=1e-10)
    for place, (size, row) in enumerate(tables["size"].items(), 1):
        assert size == list(OBJECT_SIZES)[place - 1]
        there = precision[:, :, :, place]
        assert row["ap"] == pytest.approx(100 * there[there > -1].mean(), abs=1e-10)
        assert row["ar100"] == pytest.approx(100 * theirs.stats[8 + place], abs=1e-10)
    there = precision[0, :, :, 0]
    assert curves["IoU 0.5"].lines["all classes"] == pytest.approx(100 * there[:, there[0] > -1].mean(1), abs=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_pycocotools(seed: int):
    """Random objects and detections: crowd, an image without objects, one without detections, ties, a class that is only predicted."""
    assert_same(*made_images(seed))


def test_of_a_thousand_detections_of_an_image_a_hundred_of_each_class_count():
    random = np.random.default_rng(7)
    truths = [made_truth(random, 30, 4), made_truth(random, 20, 2)]
    assert_same(truths, [made_found(random, truth, 1000) for truth in truths])


def test_objects_at_the_border_are_judged_as_a_loop_does():
    truths, founds = made_images(11)
    made = scores(truths, founds)
    rows = made.tables()["position"]

    def touches(box: np.ndarray, size: tuple[int, int]) -> bool:
        height, width = size
        return box[0] <= 2 or box[1] <= 2 or box[2] >= width - 2 or box[3] >= height - 2

    assert list(rows) == ["touching the border", "inside"]
    assert rows["touching the border"]["ap"] == pytest.approx(slow_ap(truths, founds, touches), abs=1e-10)
    assert rows["inside"]["ap"] == pytest.approx(slow_ap(truths, founds, lambda *of: not touches(*of)), abs=1e-10)
    assert made.compute()["ap"] == pytest.approx(slow_ap(truths, founds, lambda *_: True), abs=1e-10), "the loop itself is right"
    objects = [(box, truth.size) for truth in truths for box in truth.objects.xyxy]
    assert rows["touching the border"]["objects"] == sum(touches(*one) for one in objects) > 3
    assert sum(row["objects"] for row in rows.values()) == len(objects)


def test_a_box_touches_each_side_within_two_pixels():
    boxes = np.array([[2, 50, 9, 60], [3, 2, 9, 60], [3, 50, 298, 60], [3, 50, 9, 198], [2.5, 2.5, 297.5, 197.5]])
    assert touches_border(boxes, np.array([[200, 300]]).repeat(5, 0)).tolist() == [True, True, True, True, False]


def test_order_of_images_and_batches_changes_nothing():
    truths, founds = made_images(3)
    made, turned = scores(truths, founds), scores(truths, founds, order=[4, 1, 5, 0, 3, 2])
    together = BoxScores(CLASSES, truths, CPU)
    together.update(({}, founds), Batch(None, None, [], range(len(truths))))
    for other in (turned, together):
        assert {**other.compute(), "loss": 0} == {**made.compute(), "loss": 0}
        assert other.tables() == made.tables()
        assert other.curves() == made.curves()


def test_what_is_computed_again_is_the_same_and_more_can_follow():
    truths, founds = made_images(3)
    made = scores(truths, founds, order=[0, 1, 2])
    part = made.compute()
    assert made.compute() == pytest.approx(part, nan_ok=True)
    for index in (3, 4, 5):
        made.update(({}, [founds[index]]), Batch(None, None, [], [index]))
    assert made.compute() == pytest.approx(scores(truths, founds).compute(), nan_ok=True)
    assert made.tables() == scores(truths, founds).tables()


def test_the_loss_is_the_mean_over_images_of_the_sum_of_losses():
    truths, founds = made_images(3)
    made = BoxScores(CLASSES, truths, CPU)
    made.update(({"a": torch.tensor(1.0), "b": torch.tensor(0.5)}, founds[:4]), Batch(None, None, [], [0, 1, 2, 3]))
    made.update(({"a": torch.tensor(4.0), "b": torch.tensor(0.0)}, founds[4:]), Batch(None, None, [], [4, 5]))
    assert made.compute()["loss"] == pytest.approx((4 * 1.5 + 2 * 4) / 6, abs=1e-12)


def test_sizes_and_positions_without_objects_have_neither_metric_nor_row():
    truth = Boxes(np.array([[5, 5, 15, 15]], "f4"), np.array([0]), np.array([False]), np.array([100], "f4"), 1, (50, 50))
    found = {"boxes": torch.tensor([[5.0, 5, 15, 15]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([0])}
    made = scores([truth], [found])
    assert [metric.name for metric in box_metrics([truth])] == [*(metric.name for metric in BOX_METRICS), "ap_small"]
    figures = made.compute()
    assert np.isnan(figures.pop("loss")), "of outputs that tell no loss"
    assert figures == pytest.approx(dict.fromkeys(("ap", "ap50", "ap75", "ar100", "ap_small"), 100))
    assert list(made.tables()["size"]) == ["small"]
    assert list(made.tables()["position"]) == ["inside"]
    crowd = Boxes(truth.xyxy, truth.labels, np.array([True]), truth.area, 1, (50, 50))
    assert box_metrics([crowd]) == BOX_METRICS


def test_images_without_objects_have_no_figure():
    empty = Boxes(np.zeros((0, 4), "f4"), np.zeros(0, "i8"), np.zeros(0, bool), np.zeros(0, "f4"), 1, (50, 50))
    found = {"boxes": torch.tensor([[5.0, 5, 15, 15]]), "scores": torch.tensor([0.5]), "labels": torch.tensor([0])}
    for made in (scores([empty], [found]), scores([empty], [{name: value[:0] for name, value in found.items()}]), scores([], [])):
        assert all(np.isnan(value) for value in made.compute().values())
        assert made.curves() == {}
        assert made.tables()["size"] == {}
    assert np.isnan(image_ap(found, empty, len(CLASSES)))


def test_the_score_of_an_image_is_its_own_ap():
    truths, founds = made_images(5)
    for truth, found in zip(truths, founds, strict=True):
        assert image_ap(found, truth, len(CLASSES)) == pytest.approx(scores([truth], [found]).compute()["ap"], nan_ok=True, abs=1e-12)
    assert image_ap(founds[3], truths[3], len(CLASSES)) == 0, "nothing is found of one object"


def test_nothing_is_printed_and_torch_and_numpy_keep_their_random_state(capfd):
    before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert_same(*made_images(2))
    assert capfd.readouterr() == ("", "")
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpys).all()  # noqa: NPY002


def test_a_batch_that_does_not_name_its_images_is_refused():
    truths, founds = made_images(5)
    with pytest.raises(ValueError, match="must name its images: 0 indices of 6 images"):
        BoxScores(CLASSES, truths, CPU).update(({}, founds), Batch(None, None, []))


def test_a_missing_library_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
    with pytest.raises(ValueError, match=r"need faster-coco-eval: pip install 'senet\[detect\]'"):
        BoxScores(CLASSES, [], CPU)


def test_processes_reach_the_figures_of_one(tmp_path):
    """Once with half of the images each, once with all in the first."""
    truths, founds = made_images(9)
    start_processes(judge_share, (str(tmp_path), truths, founds), nprocs=2, start_method="fork")
    wanted = scores(truths, founds)
    wanted = (wanted.compute() | {"loss": 2.0}, wanted.tables(), plain_curves(wanted.curves()))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == [wanted, wanted]


def judge_share(rank: int, folder: str, truths: list[Boxes], founds: list[Found]) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    told = []
    for shares in (((0, 2, 4), (1, 3, 5)), (range(6), ())):
        made = BoxScores(CLASSES, truths, CPU)
        for index in shares[rank]:
            made.update(({"loss": torch.tensor(2.0)}, [founds[index]]), Batch(None, None, [], [index]))
        told.append((made.compute(), made.tables(), plain_curves(made.curves())))
    torch.save(told, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
