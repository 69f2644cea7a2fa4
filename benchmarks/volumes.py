"""Measure what volumes of a brain's size cost: `python -m benchmarks.volumes`.

Two synthetic volumes of 256 voxels each way with 28 classes, one to train on and one held out, go through the recipe `malc`: labels are
looked at, values prepared, kept and read, and a step is taken on four whole slices. Times are of the processor, in one thread; memory is
the largest that the process had had by then.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import nibabel
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from senet.measuring.machine import bench_environment
from senet.recipe import load_recipe
from senet.tasks.answers import network_of, open_source
from senet.tasks.registry import open_task

SIDE, CLASSES = 256, 28
"""Voxels of a volume each way, and classes of its labels: as `malc` says."""

BATCH = 4
"""Slices of a step, as `malc` says."""


def write_volumes(root: Path) -> None:
    """Write volumes of nested balls on noise, in the orientation of a scanner: 16 bits, compressed."""
    affine = np.array([[0, 1, 0, -128], [0, 0, -1, 128], [-1, 0, 0, 128], [0, 0, 0, 1]])
    for number, split in enumerate(("train", "val")):
        distance = sum((axis - SIDE / 2) ** 2 for axis in np.ogrid[:SIDE, :SIDE, :SIDE]) ** 0.5
        labels = (CLASSES - distance / 4).clip(0, CLASSES - 1).astype(np.uint8)
        image = (40 * labels + np.random.default_rng(number).normal(200, 50, labels.shape)).clip(0, 4095).astype(np.int16)
        for folder, values in (("images", image), ("labels", labels)):
            (root / split / folder).mkdir(parents=True)
            nibabel.Nifti1Image(values, affine).to_filename(root / split / folder / f"brain{number}.nii.gz")


def main() -> None:
    """Print a row for each part."""
    torch.set_num_threads(1)
    table = Table("part", "processor, s", "largest memory so far, GB")

    @contextmanager
    def part(name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        table.add_row(name, f"{time.process_time() - begun:.3g}", f"{peak:.2f}")

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        writer = get_context("spawn").Process(target=write_volumes, args=(Path(folder, "malc"),))  # whose memory does not count
        writer.start()
        writer.join()
        recipe = load_recipe("malc", {"data.root": str(Path(folder, "malc"))})
        task = open_task(recipe)
        with part("begun"):
            pass
        with part("labels of two volumes looked at"):
            source = open_source(task, recipe.data)
        with part("opened again"):
            source = open_source(task, recipe.data)
        with part("one volume and its labels prepared and kept"):
            _ = source.train.read(0), source.train.targets[0]
        slices = range(len(source.train))
        with part(f"its {len(slices)} slices with foreground read"):
            pairs = [(source.train.read(place).copy(), source.train.targets[place].copy()) for place in slices]
        transform = task.train_transform(recipe.data, source.input)
        with part("as many training crops"):
            crops = [transform(image, mask, np.random.default_rng(place)) for place, (image, mask) in enumerate(pairs)]
        model = network_of(task, recipe.model, source)
        optimiser = torch.optim.SGD(model.parameters(), lr=recipe.optim.lr, momentum=recipe.optim.momentum)
        images, masks = (torch.stack(parts) for parts in zip(*crops[:BATCH], strict=True))
        with part(f"a step on {BATCH} slices of {SIDE} x {SIDE}, {recipe.model.name}"):
            task.loss(model(images), masks)["loss"].backward()
            optimiser.step()
        with part("one slice predicted"), torch.inference_mode():
            task.average([model.eval()], images[:1])
    about = bench_environment(packages=("torch", "numpy", "nibabel"))
    console = Console()
    console.print(table)
    console.print(about)


if __name__ == "__main__":
    main()
