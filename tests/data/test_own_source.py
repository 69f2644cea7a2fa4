"""A data source of a user's own, by name alone: trained on, evaluated, replaced where unreadable, and run only because it is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import senet
from made_runs import tiny
from senet.cli.main import main
from senet.data.source import open_data
from senet.errors import UsageError
from senet.recipe import DataRecipe, Recipe
from senet.results.run_folder import RunFolder

FILE = Path(__file__).with_name("photographs_source.py")
SOURCE = f"{FILE}:photographs"

# On a machine with fewer cores than worker processes, torch says that this may be slow.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of 40 small noisy images, of which one cannot be read."""
    numbers = np.random.default_rng(0)
    folder = tmp_path / "photographs"
    folder.mkdir()
    for index in range(40):
        Image.fromarray(numbers.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{'aabb'[index % 4]}{index:02}.png")
    (folder / "a04.png").write_bytes(b"nothing")
    return folder


def recipe(root: Path, **changes) -> Recipe:
    data = {"data__name": SOURCE, "data__root": str(root), "data__batch_size": 10, "data__max_corrupt": 0.1, "data__image_size": 16}
    return tiny(**data, training__epochs=1, **changes)


def test_it_is_trained_on_with_any_number_of_workers(root: Path, tmp_path: Path) -> None:
    runs = [RunFolder(tmp_path / str(workers)) for workers in (0, 2)]
    for workers, run in zip((0, 2), runs, strict=True):
        senet.train(recipe(root, data__workers=workers), folder=run.path, progress=False)
    (row,), (other,) = (run.metrics() for run in runs)
    assert row["corrupt"] == other["corrupt"] == 1
    assert row["train_loss"] == other["train_loss"]
    found = senet.evaluate(runs[0].path, recipe(root).data)
    assert found.images == 20
    assert found.metrics == pytest.approx(runs[0].result().metrics, rel=1e-5)


def test_weights_alone_do_not_run_it(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    senet.train(recipe(root), folder=tmp_path / "run", progress=False)
    monkeypatch.setattr("senet.userfile._named", set())  # as in a process that was told nothing
    assert main(["eval", str(tmp_path / "run")]) == 2
    assert f"a file of weights is no reason to run that code: name it yourself, --data.name {SOURCE}" in capsys.readouterr().err
    assert main(["eval", str(tmp_path / "run"), "--data.name", SOURCE, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 20


def test_its_folder_is_part_of_the_recipe(root: Path, tmp_path: Path) -> None:
    assert recipe(root).digest() != recipe(tmp_path).digest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py:source", "there is no file 'nowhere.py': a data source of your own is named path/to/file.py:function"),
        (f"{FILE}:photograph", r"has no function or class 'photograph' \(did you mean 'photographs'\?\)"),
        (f"{FILE}:read_image", "has no function or class 'read_image'"),
        (f"{FILE}:nothing", "nothing returns list, which is not a senet.data.source.DataSource"),
    ],
)
def test_what_cannot_be_opened_is_one_line(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        open_data(DataRecipe(name=name))
    assert "\n" not in str(caught.value)
