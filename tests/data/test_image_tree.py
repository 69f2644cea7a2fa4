import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from senet.data.image_tree import LeftOut, image_files, sub_folders
from senet.errors import UsageError


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), "red").save(folder / name, "PNG")


def found(folder, **options):
    """Return the images' paths below a folder, and what is left out."""
    left_out = LeftOut()
    return [os.path.relpath(path, folder) for path in image_files(folder, left_out, **options)], left_out


def test_a_folders_own_images_come_before_those_of_its_sub_folders_by_name(tmp_path):
    make(tmp_path, "b/2.png", "b/10.png", "b/a/z.png", "a/y.png", "c.png", "B.png", "a.b.jpg", "b.d/1.png")
    assert found(tmp_path)[0] == ["B.png", "a.b.jpg", "c.png", "a/y.png", "b/10.png", "b/2.png", "b/a/z.png", "b.d/1.png"]
    walked = []
    for place, folders, names in os.walk(tmp_path):
        folders.sort()
        walked += [os.path.relpath(Path(place, name), tmp_path) for name in sorted(names)]
    assert found(tmp_path)[0] == walked


@pytest.mark.parametrize(
    "name", ["x.gif", "x.jfif", "x.jpe", "x.avif", "x.jp2", "x.webp", "x.bmp", "x.TIF", "x.PPM", "x.JPEG", "x", "IMG_0001"]
)
def test_images_are_known_by_their_suffix_or_without_one_by_their_content(tmp_path, name):
    make(tmp_path, name)
    assert found(tmp_path)[0] == [name]
    assert found(tmp_path)[1].notes() == ()


def test_other_files_are_counted_by_suffix(tmp_path):
    make(tmp_path, "0.png", "a.psd", "b/c.PSD", "d.xyz")
    for name in ("notes.txt", "LICENSE", "empty", "dot."):
        (tmp_path / name).write_text("no image")
    paths, left_out = found(tmp_path)
    assert paths == ["0.png"]
    assert left_out.suffixes == {".psd": 2, ".xyz": 1, ".txt": 1, "": 3}
    (note,) = left_out.notes()
    assert note.startswith("files left out, which are no images that are read, by suffix: no suffix 3, .psd 2, .")


@pytest.mark.parametrize(
    "name",
    ["@eaDir/x.png", ".thumbnails/x.png", "__MACOSX/x.png", "._x.png", ".x.png", "lost+found/x.png", "a/@eaDir/b/x.png", "Thumbs.db"],
)
def test_what_systems_put_into_folders_is_left_out_without_a_word(tmp_path, name):
    make(tmp_path, "0.png", name)
    paths, left_out = found(tmp_path)
    assert (paths, left_out.notes()) == (["0.png"], ())
    assert sub_folders(tmp_path) in ([], ["a"])


def test_links_that_lead_in_circles_do_not_repeat_images(tmp_path):
    make(tmp_path, "a/0.png", "b/1.png", "b/c/2.png")
    for link, target in {"a/x": "b", "b/y": "a", "a/self": "a", "b/c/up": ".", "z": "b"}.items():
        (tmp_path / link).symlink_to(tmp_path / target)
    paths, left_out = found(tmp_path)
    assert paths == ["a/0.png", "a/x/1.png", "a/x/c/2.png"]
    assert len(left_out.repeated) == 5
    (note,) = left_out.notes()
    assert note.startswith("links to folders that are read by another path, left out: ")
    assert note.endswith(" and 2 more")


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    make(tmp_path, "elsewhere/a/0.png", "here/1.png")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "2.png").symlink_to(tmp_path / "elsewhere" / "a" / "0.png")
    assert found(tmp_path / "here")[0] == ["1.png", "2.png", "link/a/0.png"]
    assert found(tmp_path / "here", known=[tmp_path / "elsewhere"])[0] == ["1.png", "2.png"]


def test_pipes_are_left_out_and_named_and_links_to_nothing_count_as_images(tmp_path):
    make(tmp_path, "0.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "self.png").symlink_to("self.png")
    (tmp_path / "gone").symlink_to("nowhere")
    paths, left_out = found(tmp_path)
    assert paths == ["0.png", "gone.png", "self.png"]
    assert [Path(path).name for path in left_out.special] == ["pipe.png", "zero.png"]
    pipes, links = left_out.notes()
    assert pipes == f"pipes, sockets or devices, left out: {tmp_path}/pipe.png, {tmp_path}/zero.png"
    assert links == f"links that lead nowhere, counted as unreadable: {tmp_path}/gone.png, {tmp_path}/self.png"


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    make(tmp_path, "0.png", "closed/1.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, who runs tests in containers, may read everything
    with pytest.raises(UsageError, match=r"closed cannot be read: Permission denied; make it readable, or move it away"):
        found(tmp_path)


def test_deep_folders_do_not_exhaust_the_stack(tmp_path):
    try:
        place = os.open(tmp_path, os.O_RDONLY)
        for _ in range(1100):
            os.mkdir("d", dir_fd=place)
            below = os.open("d", os.O_RDONLY, dir_fd=place)
            os.close(place)
            place = below
        os.close(place)
        assert found(tmp_path)[0] == []
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own way of removing it recurses


def test_notes_are_one_printable_line_each(tmp_path):
    os.mkfifo(tmp_path / "a\n\x1b[31m.png")
    (tmp_path / "x.\x1b[2J").write_text("")
    notes = found(tmp_path)[1].notes()
    assert len(notes) == 2
    assert all(note.isprintable() for note in notes)
