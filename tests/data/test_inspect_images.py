import numpy as np
import pytest
from PIL import Image

from senet.data.digits import open_source as open_digits
from senet.data.inspect_images import inspect_images
from senet.data.source import open_data
from senet.recipe import DataRecipe


@pytest.fixture
def root(tmp_path):
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(5):
                Image.new("RGB", (4, 4), "white").save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def look(root, sampled=100, **changes):
    source = open_data(DataRecipe(name="folder", root=str(root), **changes))
    return inspect_images((source.train, source.val), sampled)


def test_ordinary_images_give_no_note(root):
    assert (look(root).looked_at, look(root).unreadable, look(root).notes) == (20, (), ())
    assert look(root, sampled=3).looked_at == 6


def test_sources_without_files_are_read_too():
    source = open_digits(DataRecipe())
    assert inspect_images((source.train,), 10).looked_at == 10


def test_deep_images_that_do_not_fill_their_range_are_named_with_the_remedy(root):
    for i in range(5):
        Image.fromarray(np.full((4, 4), 4095, np.uint16)).save(root / "train" / "cat" / f"{i}.png")
    (note,) = look(root).notes
    assert note.startswith(
        "5 of 20 images looked at have more than 8 bits (I;16 5) and are nearly black: their brightest value is 15 of 255"
    )
    assert note.endswith("data.range LOW,HIGH")
    assert look(root, range=(0, 4095)).notes == ("5 of 20 images looked at have more than 8 bits (I;16 5)",)


def test_images_without_a_range_are_unreadable_with_their_mode(root):
    Image.fromarray(np.full((4, 4), 4095, np.int32)).save(root / "val" / "dog" / "x.tif")
    (reason,) = look(root).unreadable
    assert reason.startswith(f"{root}/val/dog/x.tif: has values from 4095 to 4095 (signed, 32 bits, mode I)")


def test_frames_and_transparency_that_are_dropped_are_said(root):
    white, black = Image.new("RGB", (4, 4), "white"), Image.new("RGB", (4, 4))
    white.save(root / "train" / "cat" / "0.gif", save_all=True, append_images=[black, black])
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(root / "train" / "cat" / "1.png")
    Image.new("RGBA", (4, 4), (255, 0, 0, 255)).save(root / "train" / "cat" / "2.png")
    assert look(root).notes == (
        "1 of 21 images looked at have several frames, of which the first is read",
        "1 of 21 images looked at are transparent in places: the colours are taken, whatever shines through",
    )
