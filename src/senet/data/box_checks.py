"""Boxes of files held against their images: what is mended, what is left out, and how that is said."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from senet.data.box_files import BoxTable
from senet.data.box_marks import Annotated, Marks
from senet.data.boxes import box_areas, clipped, turned_boxes
from senet.data.coco.blobs import Entries
from senet.data.image_file import TRANSPOSING
from senet.data.image_tree import LeftOut, few, image_files

ROUNDING = 0.5
"""Pixels by which a box may be outside its image without being counted: files round."""


def remark(names: Sequence[str], what: str) -> list[str]:
    """Return a line of how many things something is true, and some of their names; none if it is true of none."""
    return [f"{len(names)} {what}: {few(list(dict.fromkeys(names)))}"] if names else []


def unlisted(root: Path, folder: Path, listed: Iterable[bytes]) -> list[str]:
    """Return a line of the images in a folder that are none of those that are listed, by their paths below the root."""
    known = {os.fsdecode(path) for path in listed}
    there = (os.path.relpath(path, root) for path in image_files(folder, LeftOut()))
    return remark([path for path in there if path not in known], "images are in no list, left out")


def settled(found: Annotated, headers: np.ndarray) -> tuple[Annotated, BoxTable, list[str]]:
    """Return the images whose boxes can be trusted, their boxes, and what was found wrong, one line each.

    Boxes are cut at the edges of their image. Left out are images of another size than the file says, and boxes of no four finite numbers,
    of no class that is listed, without area, outside their image, and those that repeat another.

    Args:
        found: images with what files say of them.
        headers: (N, 3) int64, width and height of each image, upright, and its EXIF orientation; zeros for one that cannot be read.
    """
    upright, orientation = headers[:, :2], headers[:, 2]
    both = upright.any(axis=1) & found.sizes.all(axis=1)
    differ = both & (found.sizes != upright).any(axis=1)
    turn = differ & np.isin(orientation, TRANSPOSING) & (found.sizes == upright[:, ::-1]).all(axis=1)
    wrong = differ & ~turn
    names = [os.fsdecode(path) for path in found.images.paths.tolist()]

    def named(which: np.ndarray) -> list[str]:
        return [names[place] for place in np.flatnonzero(which).tolist()]

    def sized(place: int) -> str:
        (width, height), (said_width, said_height) = upright[place].tolist(), found.sizes[place].tolist()
        return f"{names[place]} ({width} x {height}, not {said_width} x {said_height})"

    notes = [
        *remark([sized(place) for place in np.flatnonzero(wrong).tolist()], "images of another size than the file says, left out"),
        *remark(named(turn), "images are turned upright by their EXIF orientation, and their boxes with them"),
        *remark(
            named((orientation > 1) & ~turn & ~wrong), "images are turned by their EXIF orientation, and their boxes are taken as upright"
        ),
    ]
    kept = np.flatnonzero(~wrong)
    left, turns = found.chosen(kept), np.where(turn, orientation, 1)[kept]
    sizes = np.where(np.any(upright[kept], axis=1, keepdims=True), upright[kept], left.sizes)
    stored = np.where((turns > 1)[:, None], sizes[:, ::-1], sizes)
    marks, said = _sound(left.marks, stored, left, [names[place] for place in kept.tolist()])
    xyxy = marks.xyxy.copy()
    for place in np.flatnonzero(turns > 1).tolist():
        here = marks.image == place
        width, height = sizes[place].tolist()
        xyxy[here] = turned_boxes(xyxy[here], (height, width), int(turns[place]))
    return left, _table(replace(marks, xyxy=xyxy), left.ids, sizes, turns), notes + said


def _sound(marks: Marks, stored: np.ndarray, found: Annotated, names: list[str]) -> tuple[Marks, list[str]]:
    """Return the objects that can be learnt or judged, cut at the edges of their images, and what is wrong with others."""
    notes: list[str] = []
    marks = marks.chosen(
        np.asarray(stored.any(axis=1))[marks.image]
    )  # of an image that cannot be read, and nothing says its size, boxes say nothing
    if found.relative:
        shapes = None if marks.shapes is None else [_scaled(shape, stored[at]) for shape, at in zip(marks.shapes, marks.image, strict=True)]
        marks = replace(marks, xyxy=marks.xyxy * np.tile(stored[marks.image], 2), shapes=shapes)

    def told(marks: Marks, which: np.ndarray, what: str) -> None:
        notes.extend(remark([names[int(place)] for place in marks.image[which]], what))

    def without(marks: Marks, which: np.ndarray, what: str) -> Marks:
        told(marks, which, what)
        return marks.chosen(~which) if which.any() else marks

    marks = without(marks, marks.labels < 0, "boxes of no class that is listed, left out")
    marks = without(marks, np.asarray(~np.isfinite(marks.xyxy).all(axis=1)), "boxes that are no four finite numbers, left out")
    marks = without(marks, box_areas(marks.xyxy) <= 0, "boxes without area, left out")
    cut = clipped(marks.xyxy, stored[marks.image, ::-1])
    gone = box_areas(cut.astype(np.float32)) <= 0
    marks, cut = without(marks, gone, "boxes outside of their image, left out"), cut[~gone]
    beyond = np.asarray((np.abs(cut - marks.xyxy) > ROUNDING).any(axis=1))
    told(marks, beyond, "boxes reach out of their image, cut at its edges")
    boxed = box_areas(cut)
    known = np.isfinite(marks.area) & (marks.area > 0)
    area = np.where(known, np.where(beyond, np.minimum(marks.area, boxed), marks.area), boxed)
    marks = replace(marks, xyxy=cut, area=area)
    again = np.ones(len(marks), bool)
    same = np.column_stack([marks.image, marks.labels, marks.crowd, marks.xyxy.astype(np.float32)])
    again[np.unique(same, axis=0, return_index=True)[1]] = False
    marks = without(marks, again, "boxes repeat another of their class, left out")
    if marks.shapes is not None:
        bare = np.array([not shape for shape in marks.shapes], bool)
        told(marks, bare, "objects without an outline, which is taken to be their box")
        drawn = [_rectangle(box) if none else shape for shape, box, none in zip(marks.shapes, marks.xyxy.tolist(), bare, strict=True)]
        marks = replace(marks, shapes=drawn)
    told(marks, marks.crowd, "regions of many objects (crowd) or difficult objects, which are not learnt and not counted in evaluation")
    empty = np.bincount(marks.image[~marks.crowd], minlength=len(names)) == 0
    notes += remark([names[place] for place in np.flatnonzero(empty).tolist()], "images without an object, kept")
    return marks, notes


def _scaled(shape: Any, size: np.ndarray) -> Any:
    """Return polygons in shares of width and height in pixels."""
    return shape and [(np.reshape(polygon, (-1, 2)) * size).ravel().tolist() for polygon in shape]


def _rectangle(box: list[float]) -> list[list[float]]:
    left, top, right, bottom = box
    return [[left, top, right, top, right, bottom, left, bottom]]


def _table(marks: Marks, ids: np.ndarray, sizes: np.ndarray, turns: np.ndarray) -> BoxTable:
    marks = marks.chosen(np.argsort(marks.image, kind="stable"))
    starts = np.searchsorted(marks.image, np.arange(len(ids) + 1))
    ends = zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
    shapes = None if marks.shapes is None else Entries(marks.shapes[start:end] for start, end in ends)
    xyxy, area = marks.xyxy.astype(np.float32), marks.area.astype(np.float32)
    return BoxTable(starts, xyxy, marks.labels, marks.crowd, area, ids, sizes, turns, shapes)
