"""Lists of images have the same fingerprint exactly if they are the same list."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from senet.data import fingerprint as module
from senet.data.fingerprint import fingerprint
from senet.data.folder import ImageFiles
from senet.data.source import ArrayImages

NAMES = ("a/1.png", "a/2.png", "b/1.png", os.fsdecode(b"b/\xff.png"))


def files(root: Path, names: tuple[str, ...] = NAMES, targets: tuple[int, ...] = (0, 0, 1, 1), size: int = 9) -> ImageFiles:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_bytes(b"x" * size)
    return ImageFiles(root, np.array([os.fsencode(name) for name in names]), np.array(targets, np.int64))


def test_files_are_told_by_names_order_targets_and_sizes_wherever_they_are(tmp_path: Path) -> None:
    first = fingerprint(files(tmp_path / "a"))
    assert fingerprint(files(tmp_path / "b")) == first
    changed = {
        "order": files(tmp_path / "c", NAMES[::-1]),
        "names": files(tmp_path / "d", (*NAMES[:3], "b/3.png")),
        "targets": files(tmp_path / "e", targets=(0, 0, 1, 0)),
        "fewer": files(tmp_path / "f", NAMES[:3], (0, 0, 1)),
        "sizes": files(tmp_path / "g", size=10),
    }
    found = {name: fingerprint(images) for name, images in changed.items()}
    assert len({first, *found.values()}) == 6, found
    (tmp_path / "b" / NAMES[3]).write_bytes(b"x" * 10)  # whose name is no text
    assert fingerprint(ImageFiles(tmp_path / "b", files(tmp_path / "c").paths, np.array([0, 0, 1, 1]))) != first
    (tmp_path / "a" / NAMES[1]).unlink()
    assert fingerprint(ImageFiles(tmp_path / "a", files(tmp_path / "b").paths, np.array([0, 0, 1, 1]))) != first


def arrays(change: Callable[[np.ndarray, np.ndarray], object] = lambda pixels, targets: None) -> ArrayImages:
    pixels, targets = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4), np.arange(5)
    change(pixels, targets)
    return ArrayImages("name", pixels, targets)


def test_arrays_are_told_by_pixels_and_targets() -> None:
    others = [arrays(lambda pixels, targets: pixels.__setitem__((4, 3, 3), 0)), arrays(lambda pixels, targets: targets.__setitem__(4, 0))]
    assert fingerprint(arrays()) == fingerprint(arrays())
    assert len({fingerprint(images) for images in (arrays(), *others)}) == 3


def own(**given) -> SimpleNamespace:
    class Own(SimpleNamespace):
        def __len__(self):
            return 3

    return Own(targets=[0, 1, 2], **given)


def test_others_are_told_by_their_names_or_say_it_themselves() -> None:
    named, other = (own(describe=lambda index, prefix=prefix: f"{prefix}{index}") for prefix in "ab")
    assert fingerprint(named) == fingerprint(named) != fingerprint(other)  # pyright: ignore[reportArgumentType]
    versions = [own(fingerprint=lambda version=version: version) for version in (1, 1, 2)]
    one, same, two = map(fingerprint, versions)  # pyright: ignore[reportArgumentType]
    assert one == same != two


def test_no_more_contents_are_looked_at_than_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(module, "_size", lambda path: asked.append(path) or 1)
    monkeypatch.setattr(module, "LOOKED_AT", 2)
    fingerprint(files(tmp_path))
    assert [path.name for path in asked] == ["1.png", "1.png"]
