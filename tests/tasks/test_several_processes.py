"""Validation images that do not divide among processes: each is judged once, and every process has the metrics of one with all."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing import start_processes  # pyright: ignore[reportPrivateImportUsage]
from torch.nn import functional

from senet.data.batch import Batch
from senet.data.loaders import eval_loader
from senet.data.source import ArrayImages, DataSource, input_spec
from senet.recipe import DataRecipe, SegmentationRecipe
from senet.tasks.classification import Accuracies
from senet.tasks.detection.evaluator import BoxScores
from senet.tasks.segmentation.evaluator import MaskScores
from tasks.detection.made_detections import CLASSES, made_images

CPU = torch.device("cpu")
Figures = dict[str, dict[str, float]]


def judged(count: int, rank: int = 0, world: int = 1) -> tuple[Figures, list[int]]:
    """Return the metrics of three tasks over `count` images, and which of them this process judged."""
    random = np.random.default_rng(5)
    pixels, labels = random.integers(256, size=(count, 8, 8)).astype(np.uint8), random.integers(3, size=count)
    images = ArrayImages("made", pixels, labels)
    recipe = DataRecipe(batch_size=2, workers=0)
    source = DataSource("made", images, images, ("0", "1", "2"), input_spec(recipe, size=8, mean=(0.5,), std=(0.5,)))
    logs = torch.from_numpy(random.normal(size=(count, 3, 9, 12))).log_softmax(1)
    masks = torch.from_numpy(random.integers(3, size=(count, 9, 12)).astype(np.uint8))
    truths, founds = made_images(9)
    truths, founds = truths[:count], founds[:count]
    classification, boxes = Accuracies(3, CPU), BoxScores(CLASSES, truths, CPU)
    segmentation = MaskScores(("ground", "cell", "nucleus"), SegmentationRecipe(), CPU)
    own = []
    for batch in eval_loader(source, recipe, rank=rank, world=world):
        indices = list(batch.indices)
        classification.update(functional.log_softmax(logs[indices, :, 0, 0], 1), batch)
        segmentation.update(logs[indices], Batch(None, masks[indices], []))
        boxes.update(({"loss": torch.tensor(2.0)}, [founds[index] for index in indices]), Batch(None, None, [], indices))
        own += indices
    found = {"classification": classification.compute(), "segmentation": segmentation.compute(), "detection": dict(boxes.compute())}
    return found, own


def process(rank: int, world: int, count: int, folder: Path) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "The ``compute`` method")  # of a process without images; under a launcher the first alone warns
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    torch.save(judged(count, rank, world), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize(("count", "world"), [(5, 2), (5, 3), (2, 3)])
def test_each_image_counts_once(count: int, world: int, tmp_path: Path) -> None:
    wanted, _ = judged(count)
    start_processes(process, (world, count, tmp_path), nprocs=world, start_method="fork")
    of_each = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]
    assert sorted(index for _, own in of_each for index in own) == list(range(count))
    for found, _ in of_each:
        assert found == of_each[0][0], "every process has the same"
        for task, metrics in wanted.items():
            assert found[task] == pytest.approx(metrics, rel=1e-6, abs=1e-9, nan_ok=True), task
