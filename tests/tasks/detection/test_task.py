"""Detection through the seam: trained, resumed, evaluated, predicted, in several processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from data.coco.made_coco import put_json
from made_runs import assert_same_run, train_by_two, train_until
from senet.cli.main import main
from senet.data.batch import Batch
from senet.data.loaders import eval_loader
from senet.errors import UsageError
from senet.recipe import DataRecipe, DetectionRecipe, ModelRecipe, Recipe
from senet.results.run_folder import RunFolder
from senet.tasks.answers import average_of, classes_of, inputs_of, losses_of, noise_of
from senet.tasks.detection.task import Detection
from senet.tasks.registry import open_task
from senet.training.evaluate import evaluate
from senet.training.job import prepare
from senet.training.loop import train
from senet.training.predict import predict
from tasks.detection.made_rectangles import VAL, CellDetector, rectangles, source, tiny_boxes

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rectangles") / "run"
    torch.set_num_threads(1)
    train(tiny_boxes(), folder=folder, progress=False)
    return folder


class Known(torch.nn.Module):
    """Detector that finds given boxes in the pixels of the images that it sees."""

    def __init__(self, *found: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.found, self.targets = list(found), []

    def forward(self, images, targets=None):
        self.targets.append(targets)
        return self.found if targets is None else ({"loss_a": torch.tensor(1.0), "loss_b": torch.tensor(2.0)}, self.found)


def test_training_logs_losses_and_metrics_of_images_of_several_sizes(run):
    rows = RunFolder(run).metrics()
    assert len(rows) == 3
    names = ("train_loss", "train_loss_class", "train_loss_box", "val_loss", "val_ap", "val_ap50", "val_ap75", "val_ar100", "val_ap_small")
    for name in names:
        assert all(np.isfinite(row[name]) for row in rows), name
    assert "val_ap_large" not in rows[0]
    assert rows[-1]["train_loss"] < 0.9 * rows[0]["train_loss"]
    assert rows[0]["train_loss"] == pytest.approx(rows[0]["train_loss_class"] + rows[0]["train_loss_box"], rel=1e-5)


def test_a_resumed_run_is_the_same(run, tmp_path):
    train_until(5, tiny_boxes(), tmp_path / "run")
    train(resume=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", run)


def test_samples_do_not_depend_on_the_number_of_workers(run, tmp_path):
    train(tiny_boxes(data__workers=2), folder=tmp_path / "run", progress=False)
    assert_same_run(tmp_path / "run", run)


@pytest.mark.slow
def test_two_processes_judge_as_one(run, tmp_path):
    recipe = tiny_boxes(training__freeze_bn_epochs=3, detection__score_threshold=0.0)
    (tmp_path / "rectangles.yaml").write_text(recipe.to_yaml())
    code = ["--allow-code", recipe.data.name.rpartition(":")[0]]
    words = ["rectangles.yaml", "--data.name", recipe.data.name, "--folder", "two", "--json", *code]
    train_by_two(words, tmp_path)
    weights = tmp_path / "two" / "best.safetensors"
    best = max(RunFolder(tmp_path / "two").metrics(), key=lambda row: (row["val_ap"], -row["val_loss"]))
    alone = evaluate(weights, tiny_boxes(data__eval_batch_size=1).data).metrics
    for name, value in alone.items():
        assert best[f"val_{name}"] == pytest.approx(value, rel=1e-5), name


def test_weights_are_evaluated_as_they_were_trained(run):
    rows = RunFolder(run).metrics()
    found = evaluate(run / "best.safetensors", tiny_boxes().data)
    assert found.metrics["ap"] == pytest.approx(max(row["val_ap"] for row in rows), abs=1e-6)
    assert found.images == len(VAL)
    assert set(found.tables["class"]) == {"red", "blue"}


def test_batches_of_several_sizes_are_judged_as_single_images():
    made, task = source(tiny_boxes().data), open_task(tiny_boxes(detection__score_threshold=0.0))
    torch.manual_seed(0)
    model, metrics = CellDetector().eval(), []
    for size in (1, 5):
        evaluator = task.evaluator(made, CPU)
        with torch.inference_mode():
            for batch in eval_loader(made, tiny_boxes(data__batch_size=size).data, task):
                evaluator.update(average_of(task, [model], batch), batch)
        metrics.append(evaluator.compute())
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-5)


def test_boxes_are_given_in_the_pixels_of_the_image_that_was_read():
    found = {
        "boxes": torch.tensor([[0.0, 0, 40, 20], [-5, 10, 130, 90], [1, 1, 2, 2], [3, 3, 4, 4]]),
        "scores": torch.tensor([0.3, 0.9, 0.04, 0.2]),
        "labels": torch.tensor([1, 0, 1, 1]),
        "masks": torch.rand(4, 80, 120),
    }
    target = {"size": torch.tensor([40, 60])}
    task, network = Detection(DetectionRecipe(max_detections=2)), Known(found)
    losses, (one,) = task.average([network], [torch.zeros(3, 80, 120)], [target])
    assert losses == {}
    assert network.targets == [None]
    assert one["boxes"].tolist() == [[0, 5, 60, 40], [0, 0, 20, 10]]
    assert one["labels"].tolist() == [0, 1]
    assert [shape["size"] for shape in one["masks"].shapes] == [[40, 60]] * 2
    learnt = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    losses, (one,) = task.average([network], [torch.zeros(3, 80, 120)], [{**target, **learnt}])
    assert network.targets[-1][0].keys() == learnt.keys()
    assert losses.keys() == {"loss_a", "loss_b"}
    assert "masks" not in one
    _, (one,) = task.average([network], torch.zeros(1, 3, 80, 120))
    assert one["boxes"].tolist() == [[0, 10, 120, 80], [0, 0, 40, 20]]
    with pytest.raises(UsageError, match="the boxes of 2 networks are not averaged"):
        task.average([network, network], [torch.zeros(3, 80, 120)], [target])


def test_boxes_are_predicted_of_files_and_written(run, tmp_path, capsys):
    made = rectangles(VAL, 5)
    (tmp_path / "images").mkdir()
    for number, image in enumerate(made.images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    found = list(predict(run, [tmp_path / "images"], changes={"detection.score_threshold": 0.0}))
    assert [one.prediction.size for one in found] == [image.shape[:2] for image in made.images]
    words = [
        str(tmp_path / "images"),
        "--weights",
        str(run),
        "--out",
        str(tmp_path / "out"),
        "--overlay",
        str(tmp_path / "drawn"),
        "--json",
    ]
    name = tiny_boxes().model.name
    assert main(["predict", *words, "--json", "--score_threshold", "0", "--allow-code", str(Path(name.rpartition(":")[0]).parent)]) == 0
    listed = json.loads(capsys.readouterr().out)["predictions"]
    assert [len(one["boxes"]) for one in listed] == [len(one.prediction.scores) for one in found] == [5] * 5
    for number, one in enumerate(listed):
        written = json.loads((tmp_path / "out" / f"{number}.json").read_text())
        assert written["boxes"] == one["boxes"]
        height, width = made.images[number].shape[:2]
        with Image.open(tmp_path / "drawn" / f"{number}.png") as drawn:
            assert drawn.size == (width, height)
        assert all(0 <= left <= right <= width and 0 <= top <= bottom <= height for left, top, right, bottom in one["boxes"])


def test_noise_is_trained_on_as_images_are():
    recipe = tiny_boxes()
    task, made = open_task(recipe), source(recipe.data)
    batch = noise_of(task, made, 3)
    outputs = CellDetector()(*inputs_of(task, batch.images, batch.targets))
    assert losses_of(task, outputs, batch.targets)["loss"].isfinite()
    outlined = Detection(DetectionRecipe(shorter_sides=(30,), outlines=True)).noise(made, 1).targets[0]
    for mask, (left, top, right, bottom) in zip(outlined["masks"], outlined["boxes"].round().int().tolist(), strict=True):
        assert int(mask.sum()) == (right - left) * (bottom - top)


def test_an_image_holds_its_objects_of_each_class():
    targets = [{"labels": torch.tensor([2, 0, 2])}, {"labels": torch.tensor([], dtype=torch.int64)}]
    batch = Batch([torch.zeros(3, 4, 4)] * 2, targets, [])
    assert classes_of(open_task(tiny_boxes()), batch).tolist() == [[1, 0, 2], [0, 0, 0]]
    assert classes_of(open_task(tiny_boxes()), Batch([torch.zeros(3, 4, 4)], targets[1:], [])).shape == (1, 0)


def test_what_is_no_detection_is_refused():
    made = source(tiny_boxes().data)
    with pytest.raises(UsageError, match=r"data\.name 'digits' gives no boxes"):
        Detection(DetectionRecipe()).open(DataRecipe(name="digits"))
    with pytest.raises(UsageError, match=r"model\.name 'resnet18' finds no boxes"):
        Detection(DetectionRecipe()).build(ModelRecipe("resnet18"), made)
    with pytest.raises(UsageError, match=r"counts classes from 1 .* take model\.name faster_rcnn"):
        Detection(DetectionRecipe()).build(ModelRecipe("torchvision/fasterrcnn_resnet50_fpn"), made)
    with pytest.raises(UsageError, match="returns its losses by name, got Tensor"):
        Detection(DetectionRecipe()).loss(torch.zeros(2), [])  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=r"detection\.shorter_sides must be one or several numbers"):
        DetectionRecipe(shorter_sides=())
    with pytest.raises(UsageError, match=r"detection\.score_threshold must be between 0 and 1"):
        tiny_boxes(detection__score_threshold=1.5)
    one = {"boxes": torch.zeros(1, 4), "scores": torch.ones(1), "labels": torch.ones(1).long(), "size": torch.ones(2).long()}
    with pytest.raises(UsageError, match="the network finds class 1: their names are wrong"):
        Detection(DetectionRecipe()).predict(({}, [one]), ("cell",))
    with pytest.raises(UsageError, match=r"data\.on_device true: .*joins its batches in a way of its own"):
        prepare(tiny_boxes(data__on_device=True))


def test_recipes_of_other_tasks_have_the_digests_they_had():
    assert Recipe().digest() == Recipe(detection=DetectionRecipe()).digest()
    assert Recipe().digest() != Recipe(detection=DetectionRecipe(longest_side=1000)).digest()


def test_boxes_of_a_folder_are_one_file_of_cocos_results(run, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for number, image in enumerate(rectangles(VAL, 5).images):
        Image.fromarray(image).save(tmp_path / "images" / f"{number}.png")
    code = str(Path(tiny_boxes().model.name.rpartition(":")[0]).parent)
    words = ["predict", str(tmp_path / "images"), "--weights", str(run), "--score_threshold", "0", "--allow-code", code]
    target = tmp_path / "found.json"
    assert main([*words, "--coco-results", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["coco_results"]["file"] == str(target)
    assert said["coco_results"]["notes"][0].startswith("5 images are numbered from 1 in their order, see found_images.json: ")
    read = COCO(str(tmp_path / "found_images.json")).loadRes(str(target))
    assert sorted(read.imgs) == [1, 2, 3, 4, 5]
    assert [[box["score"] for box in read.imgToAnns[number]] for number in sorted(read.imgs)] == [
        one["scores"] for one in said["predictions"]
    ]
    capsys.readouterr()
    listed = [{"id": 10 - number, "file_name": f"{number}.png"} for number in range(5)]
    put_json(tmp_path / "v.json", images=listed, annotations=[], categories=[{"id": 5, "name": "blue"}, {"id": 9, "name": "red"}])
    ids = ["--coco-ids", str(tmp_path / "v.json")]
    assert main([*words, *ids]) == main([*words, *ids, "--coco-results", str(target)]) == 2, "ids of nothing; a file that is there"
    assert main([*words, *ids, "--coco-results", str(target), "--force"]) == 0
    assert f"{target}: images and classes are numbered as in v.json" in capsys.readouterr().out
    rows = json.loads(target.read_text())
    assert list(dict.fromkeys(row["image_id"] for row in rows)) == [10, 9, 8, 7, 6]
    assert {row["category_id"] for row in rows} <= {5, 9}
