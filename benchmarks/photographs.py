"""Write the trained MobileNetV3-Small of the shared data and its photographs as commands take them: `python -m benchmarks.photographs OUT`.

OUT gets mobilenet.safetensors, for `senet analyse` and `senet compress`, and val/CLASS/ with one photograph of each of 1,000 classes.
train/ is another name of that folder, as a data set has both; nothing is trained.

    senet analyse OUT/mobilenet.safetensors --data.name folder --data.root OUT --allow-code benchmarks/photographs.py
"""

import argparse
import csv
import os
from pathlib import Path
from shutil import copyfile

from tests.trained_mobilenet import padded_mobilenet, trained_mobilenet
from torch import nn

import senet
from senet.spec import InputSpec

PHOTOGRAPHS = InputSpec(size=224, resize=256, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)


def mobilenet(num_classes: int | None = None, in_channels: int = 3) -> nn.Module:
    """Return the network with fresh weights."""
    assert num_classes in (None, 1000)
    assert in_channels == 3
    return padded_mobilenet()


def write_photographs(shared: Path, out: Path) -> None:
    """Write network and photographs.

    Args:
        shared: the folder of the shared data.
        out: where they go; it must not be there.
    """
    with (shared / "imagenet1k_sample" / "labels.csv").open(encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["class_index"]))
    for row in rows:
        folder = out / "val" / row["wnid"]
        folder.mkdir(parents=True)
        copyfile(shared / "imagenet1k_sample" / "images" / row["file"], folder / row["file"])
    (out / "train").symlink_to("val", target_is_directory=True)
    network = senet.create_model(f"{__file__}:mobilenet", num_classes=1000)
    network.load_state_dict(trained_mobilenet(shared).state_dict())
    senet.save_weights(network, out / "mobilenet.safetensors", classes=[row["wnid"] for row in rows], input=PHOTOGRAPHS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    write_photographs(Path(os.environ.get("SENET_TEST_DATA", "../shared/data")), parser.parse_args().out)
