"""Shards are written whole or not at all, hold every image once, and a build that was killed goes on."""

import errno
import fcntl
import hashlib
import logging
import os
import re
import signal
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from filelock import FileLock

from data.shards.made_folder import CLASSES, SHARD_BYTES, make_folder, make_shards, open_folder, open_shards, sharded
from faults.forked import code_of, fork
from senet.data.shards import build as building
from senet.data.shards.build import build_shards
from senet.data.shards.check import check_shards
from senet.data.source import ArrayImages, DataSource, UnreadableImageError
from senet.errors import UsageError
from senet.spec import InputSpec


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tars_hold_every_file_once_with_its_class(folder: Path, shards: Path) -> None:
    written = []
    for path in sorted(shards.glob("train-*.tar")):
        with tarfile.open(path) as tar:
            files = {entry.name: opened.read() for entry in tar if (opened := tar.extractfile(entry)) is not None}
        written += [(content, files[name.replace(".png", ".cls")]) for name, content in files.items() if name.endswith(".png")]
        assert len(files) % 2 == 0
    images = [(path.read_bytes(), str(CLASSES.index(path.parent.name)).encode()) for path in folder.glob("train/*/*.png")]
    assert sorted(written) == sorted(images)


def test_training_images_are_mixed_over_the_shards_and_validation_images_lie_in_order(shards: Path) -> None:
    train, val = (sharded(images) for images in (open_shards(shards).train, open_shards(shards).val))
    shards_of_class = [len(np.unique(train.groups[train.targets == target])) for target in range(3)]
    assert min(shards_of_class) > 6, "in order, the 12 images of a class would fill 4 or 5 shards"
    assert (np.diff(val.groups) >= 0).all()


def test_the_manifest_says_classes_counts_sizes_and_checksums(folder: Path, shards: Path, tmp_path: Path) -> None:
    manifest = make_shards(folder, tmp_path / "again").manifest
    assert (manifest.classes, manifest.splits["train"].class_counts, manifest.splits["val"].class_counts) == (CLASSES, (12,) * 3, (4,) * 3)
    for file in manifest.files:
        content = (shards / file.file).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
    assert max(shard.bytes for shard in manifest.splits["train"].shards) < 2.5 * SHARD_BYTES
    assert contents(tmp_path / "again") == contents(shards), "the same images give the same bytes"


def test_a_build_that_is_done_is_not_done_again(folder: Path, tmp_path: Path) -> None:
    first = make_shards(folder, tmp_path)
    before = contents(tmp_path)
    again = make_shards(folder, tmp_path)
    assert (again.manifest, again.written, contents(tmp_path)) == (first.manifest, 0, before)


@pytest.mark.parametrize("renames", [1, 2, 6, 9])
def test_a_killed_build_goes_on_where_it_was(folder: Path, shards: Path, tmp_path: Path, renames: int) -> None:
    out = tmp_path / "out"

    def killed() -> None:
        count, replace = 0, Path.replace

        def counted(path: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            if count > renames:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)

        Path.replace = counted  # pyright: ignore[reportAttributeAccessIssue] - this process ends soon
        build_shards(open_folder(folder), out, shard_bytes=SHARD_BYTES, workers=1)

    assert code_of(fork(killed, tmp_path / "told")) == -signal.SIGKILL
    with pytest.raises(UsageError, match=re.escape("has no shards.json")):
        open_shards(out)
    built = make_shards(folder, out)
    assert built.written == len(built.manifest.files) - 2 - (renames - 1) // 2, "what was written stays"
    assert contents(out) == contents(shards)


def test_a_damaged_shard_of_a_killed_build_is_written_again(
    folder: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_cut(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "_joined", power_cut)
        with pytest.raises(KeyboardInterrupt):
            make_shards(folder, tmp_path / "out")
    (tmp_path / "out" / "train-000001.tar").write_bytes(b"short")
    (tmp_path / "out" / "parts" / "train-000002.tar.json").write_text("{")
    assert make_shards(folder, tmp_path / "out").written == 2
    assert contents(tmp_path / "out") == contents(shards)


def test_a_file_that_cannot_be_read_counts_as_unreadable_as_in_a_folder(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "photos")
    gone = root / "train" / "dog" / "3.png"
    gone.unlink()
    gone.symlink_to("nowhere.png")
    built = make_shards(root, tmp_path / "out")
    assert built.empty == ("train/dog/3.png",)
    source = open_shards(tmp_path / "out")
    assert len(source.train) == len(open_folder(root).train) == 36
    lost = next(index for index in range(36) if source.train.describe(index) == "train/dog/3.png")
    with pytest.raises(UnreadableImageError, match=r"train/dog/3\.png: is damaged, or no image"):
        source.train.read(lost)


def test_what_is_refused_is_refused_before_anything_is_written(folder: Path, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    with pytest.raises(UsageError, match=r"full is not empty \(it holds thesis.tex\); name a new folder"):
        make_shards(folder, tmp_path / "full")
    other = make_folder(tmp_path / "other", count=6)
    with pytest.raises(UsageError, match="holds shards of other images, or of another size"):
        make_shards(other, shards)
    (tmp_path / "busy").mkdir()
    with FileLock(tmp_path / "busy" / ".lock"), pytest.raises(UsageError, match="another process writes shards to"):
        make_shards(folder, tmp_path / "busy")
    arrays = ArrayImages("made", np.zeros((4, 2, 2), np.uint8), np.arange(4) % 2)
    made = DataSource("made", arrays, arrays, ("a", "b"), InputSpec(size=2, resize=2, channels=1, mean=(0.5,), std=(0.5,)))
    with pytest.raises(UsageError, match="shards are built of image files with classes, masks or boxes"):
        build_shards(made, tmp_path / "arrays")
    assert not (tmp_path / "arrays").exists()


def test_who_waited_for_a_build_keeps_others_away(folder: Path, tmp_path: Path) -> None:
    with ExitStack() as files:
        waiting = list[IO[str]]()

        def wait(done: int, of: int) -> None:
            waiting.append(files.enter_context((tmp_path / ".lock").open()))

        build_shards(open_folder(folder), tmp_path, shard_bytes=SHARD_BYTES, watch=wait)
        fcntl.flock(waiting[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(UsageError, match="another process writes shards to"):
            make_shards(folder, tmp_path)


def test_a_folder_without_locks_is_built_in_and_one_that_cannot_be_written_is_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot write in .*file/out: Not a directory; name another folder"):
        make_shards(folder, tmp_path / "file" / "out")

    def missing(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", missing)
    with caplog.at_level(logging.WARNING):
        assert make_shards(folder, tmp_path / "out").written
    assert "has no locks: see to it that no second process writes shards there" in caplog.text


def test_checking_finds_a_flipped_bit(folder: Path, tmp_path: Path) -> None:
    manifest = make_shards(folder, tmp_path).manifest
    assert check_shards(tmp_path) == manifest
    path = tmp_path / "train-000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"1 of {len(manifest.files)} files are not what was written: train-000001.tar; copy them again"):
        check_shards(tmp_path)
