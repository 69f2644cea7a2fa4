"""A run is begun only if its network takes the recipe's images."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from made_runs import tiny
from senet.cli.main import main
from senet.errors import UsageError
from senet.recipe import Recipe
from senet.training.job import check_images, prepare
from senet.userfile import allow_code

OWN = """
from torch import nn

def network(num_classes=10, in_channels=3):
    return nn.Sequential(nn.Conv2d(in_channels, 8, 3, stride=4), nn.Flatten(), nn.Linear(999, num_classes))

class Pooled(nn.Module):
    def __init__(self, num_classes=10, in_channels=3):
        super().__init__()
        self.norm, self.head, self.calls = nn.BatchNorm1d(in_channels), nn.Linear(in_channels, num_classes), 0

    def forward(self, x):
        self.calls += 1
        return self.head(nn.functional.dropout(self.norm(x.mean((2, 3))), 0.5, self.training))
"""


@pytest.mark.parametrize("name", ["torchvision/alexnet", "timm/test_vit", "FILE:network"])
def test_a_network_that_does_not_take_the_images_is_refused_in_one_line_before_a_folder_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture, name: str
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    name = name.replace("FILE", str(tmp_path / "own.py"))
    if name.startswith(("timm", "torchvision")):
        pytest.importorskip(name.partition("/")[0])
    words = ["--model.name", name, "--model.block", "null", "--data.workers", "0", "--allow-code", str(tmp_path)]
    assert main(["train", *words, "--out", str(tmp_path / "runs"), "--quiet"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "does not take a batch of 2 x " in said[0]
    assert "data.image_size" in said[0]
    assert not (tmp_path / "runs").exists()


def own_network(folder: Path, function: str) -> Recipe:
    (folder / "own.py").write_text(OWN)
    recipe = tiny()
    return replace(recipe, model=replace(recipe.model, name=f"{folder / 'own.py'}:{function}", block=None))


def test_batchnorm_of_single_values_is_refused_unless_it_stands_still(tmp_path: Path) -> None:
    recipe = own_network(tmp_path, "Pooled")
    single = replace(recipe, data=replace(recipe.data, batch_size=1))
    with allow_code(tmp_path):
        prepare(recipe)
        with pytest.raises(UsageError, match="does not take a batch of 1 x 1 x 4 x 4 in training"):
            prepare(single)
        prepare(replace(single, training=replace(single.training, freeze_bn_epochs=single.training.epochs)))


def test_looking_at_a_network_leaves_it_and_the_random_numbers_as_they_were(tmp_path: Path) -> None:
    with allow_code(tmp_path):
        job = prepare(own_network(tmp_path, "Pooled"))
    before = torch.get_rng_state()
    check_images(job)
    assert torch.equal(torch.get_rng_state(), before)
    assert job.model.calls == 0
    assert int(job.model.norm.num_batches_tracked) == 0
