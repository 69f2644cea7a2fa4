"""Small folders of images with boxes, as Pascal VOC and YOLO keep them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from PIL import Image

from senet.data.source import DataSource, open_data
from senet.recipe import DataRecipe

CORNERS = ("xmin", "ymin", "xmax", "ymax")


def put_images(folder: Path, names: Iterable[str]) -> None:
    """Write images of 20 x 10 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.new("RGB", (20, 10), (10 * place, 0, 0)).save(folder / name)


def voc_object(name: str, corners: Iterable[object], more: str = "") -> str:
    inner = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(CORNERS, corners, strict=True))
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox>{more}</object>"


def voc_text(objects: Iterable[str] = (), size: tuple[int, int] | None = (20, 10)) -> str:
    said = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>other.jpg</filename>{said}{''.join(objects)}</annotation>"


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)


def write_voc(root: Path, objects: Mapping[str, list[str]], lists: Mapping[str, str], images: Iterable[str] | None = None) -> Path:
    """Write image name -> its objects, and list -> names of images."""
    put_images(root / "JPEGImages", [f"{name}.png" for name in (objects if images is None else images)])
    write_texts(root / "Annotations", {f"{name}.xml": voc_text(found) for name, found in objects.items()})
    write_texts(root / "ImageSets" / "Main", {f"{name}.txt": text for name, text in lists.items()})
    return root


def write_yolo(root: Path, train: Mapping[str, str], val: Mapping[str, str], description: str | None = "names: [cat, dog]\n") -> Path:
    """Write image name -> text of its boxes, for both splits."""
    for split, texts in (("train", train), ("val", val)):
        put_images(root / "images" / split, [f"{name}.png" for name in texts])
        write_texts(root / "labels" / split, {f"{name}.txt": text for name, text in texts.items()})
    if description is not None:
        (root / "data.yaml").write_text(description)
    return root


def opened(root: Path, name: str, **fields) -> DataSource:
    return open_data(DataRecipe(name=name, root=str(root), **fields))


def notes(source: DataSource) -> list[str]:
    return [note.partition(": ")[2] for note in source.notes]


def read_names(source: DataSource) -> dict[str, list[str]]:
    return {
        split: [images.describe(index) for index in range(len(images))] for split, images in (("train", source.train), ("val", source.val))
    }
