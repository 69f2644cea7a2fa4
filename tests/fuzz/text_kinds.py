"""Files of text that anybody may have written: recipes, plans, metadata, manifests, lists of images and boxes."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import senet
from data.coco.made_coco import write_panoptic, write_semantic
from data.made_boxes import voc_object, write_voc, write_yolo
from fuzz.contract import Kind, written
from insertion.made_plans import IMAGES, network
from mutation import ODD, changed_text, changed_tree
from senet.data.places365 import read_categories
from senet.data.shards.manifest import SHARDED_SPLITS, Manifest, ShardedSplit, StoredFile, read_manifest
from senet.data.source import open_data
from senet.data.volumes.label_names import label_names
from senet.insertion.apply import apply
from senet.insertion.plan import InsertPlan
from senet.recipe import DataRecipe, load_recipe, read_recipe_text
from senet.weights.metadata import STATEMENTS, parse_metadata
from weights.made_metadata import strings_of, write_described

ODD_HERE = (*ODD, False, 1, 3, "se", "x" * 5000, "a\x1b[31m", "../x", {"kind": "se"}, ["a"], [1], "__import__('os').mkdir('ran')")

JSON_WORDS = (
    *(b"[" * 50, b"{", b"}", b"]", b",", b":", b'"', b"\\u0000", b"\\ud800", b"NaN", b"-Infinity", b"1e999", b"9" * 6000, b"-", b"null"),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"true", b"0x1", b"'", b"// "),
)
YAML_WORDS = (
    *(
        b"\n",
        b"\t",
        b": ",
        b"- ",
        b"[",
        b"{",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!set ",
        b"!!python/object/apply:os.mkdir [ran] ",
        b"!x ",
        b"|",
        b">",
    ),
    *(b"? ", b"---\n", b"%TAG", b"\x00", b"\xc2\x85", b"\xff", b".nan", b"1:2:3", b"9" * 500, b"~", b"'", b'"\\UFFFFFFFF"'),
)
XML_WORDS = (
    *(b"<", b">", b"</", b"&amp;", b"&x;", b"<!--", b"<![CDATA[", b"<?xml version='1.0' encoding='utf-7'?>", b"<object>", b"</object>"),
    *(b"<!DOCTYPE a [<!ENTITY x 'y'>]>", b"\x00", b"\xff", b"nan", b"1e999", b"9" * 6000, b"\x1b[31m"),
)
LIST_WORDS = (
    b" ",
    b"\n",
    b"/",
    b"..",
    b"-1",
    b"nan",
    b"inf",
    b"1e999",
    b"9" * 6000,
    b"\x00",
    b"\xff",
    b"\xe2\x80\xa8",
    b"\x1b[31m",
    b"_1",
    b"0.5",
)

JSON_BOMBS = (
    b"[" * 10**6,
    b'{"sites": ' * 10**5,
    b"9" * 10**6,
    b'{"version": ' + b"9" * 5000 + b"}",
    b'{"images": [], "images": []}',
    b'{"a": NaN}',
    b"",
    b"\xff\xfe",
    b'"' + b"x" * 10**6 + b'"',
    b"[" + b"[]," * 10**5 + b"0]",
)
LAUGHS = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (letter, letter, b", ".join([b"*%c" % (letter - 1)] * 9)) for letter in b"bcdefghi"
)
YAML_BOMBS = (
    LAUGHS,
    b"&a [*a]",
    b"[" * 10**5,
    b"{a: " * 10**4,
    b"- " * 10**5,
    b"? " * 10**5,
    b"a: " + b"9" * 10**5,
    b"a: !!python/object/apply:os.mkdir [ran]",
    b"a: 1\na: 2",
    b"x: &x {a: 1}\n" + b"y: {<<: [" + b"*x, " * 10**4 + b"*x]}",
    b"a: " + b"0" * 300_000,
)


def as_json(content: bytes, draw: Random, words: Sequence[bytes] = JSON_WORDS) -> bytes:
    """Return JSON with values changed, or with its text changed."""
    if draw.random() < 0.3:
        return changed_text(content, draw, words)
    return json.dumps(changed_tree(json.loads(content), draw, ODD_HERE)).encode()


def by_words(words: Sequence[bytes]) -> Callable[[bytes, Random], bytes]:
    return partial(changed_text, words=words)


def read_recipe(content: bytes, folder: Path) -> None:
    load_recipe(written(folder, "a.yaml", content))


def plans(folder: Path) -> list[bytes]:
    found = (
        senet.find_sites(network(), "se", example_input=IMAGES, placement="identity"),
        senet.find_sites(network(), "sse", example_input=IMAGES, at=r"\d\.conv2"),
    )
    return [plan.to_json().encode() for plan in found]


def read_plan(content: bytes, folder: Path) -> None:
    apply(network(), InsertPlan.from_json(content.decode(errors="replace")), IMAGES)


def metadata(folder: Path) -> list[bytes]:
    """Return the metadata of weights as JSON of their values."""
    strings = strings_of(write_described(folder / "w"))
    return [json.dumps({name: json.loads(strings[name]) for name in STATEMENTS}).encode()]


def read_metadata(content: bytes, folder: Path) -> None:
    """Read strings: each value of JSON as its text, and what is no JSON as each of the strings."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        tree = None
    strings = {key: json.dumps(value) for key, value in tree.items()} if isinstance(tree, dict) else {}
    parse_metadata("w", strings or dict.fromkeys(("model", "extra"), content.decode(errors="replace")))


def manifests(folder: Path) -> list[bytes]:
    file = StoredFile("train-000000.tar", 6000, "0" * 64)
    split = ShardedSplit(3, (1, 2), StoredFile("train.npz", 300, "1" * 64), (file, file))
    return [Manifest("2" * 64, "classification", ("cat", "dog"), dict.fromkeys(SHARDED_SPLITS, split)).to_json().encode()]


def read_source(content: bytes, folder: Path, name: str, place: str) -> None:
    """Open a source of data of which one file says something else, and read what is there of it."""
    file = folder / place
    before = file.read_bytes()
    try:
        file.write_bytes(content)
        source = open_data(DataRecipe(name=name, root=str(folder)))
    finally:
        file.write_bytes(before)
    assert all(map(str.isprintable, source.notes)), source.notes


def of_source(name: str, place: str, write: Callable[[Path], object], change: Any, hostile: Sequence[bytes]) -> Kind:
    def samples(folder: Path) -> list[bytes]:
        if not (folder / place).exists():
            write(folder)
        return [(folder / place).read_bytes()]

    return Kind(samples, partial(read_source, name=name, place=place), change, hostile)


VOC_OBJECTS = [voc_object("cat", (1, 2, 9, 8)), voc_object("dog", (3, 1, 20, 10), "<difficult>1</difficult>")]
YOLO_LINES = "0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.4 0.1 0.3 0.6\n"
XML_BOMBS = (
    b"<a>" * 10**5,
    b"<!DOCTYPE a [<!ENTITY b '" + b"x" * 1000 + b"'>]><annotation>&b;</annotation>",
    b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><annotation/>",
    b"<annotation>" + b" " * 2**22 + b"</annotation>",
)


def boxes_voc(root: Path) -> None:
    write_voc(root, dict.fromkeys("abc", VOC_OBJECTS), {"train": "a\nc\n", "val": "b\n"})


def boxes_yolo(root: Path) -> None:
    write_yolo(root, dict.fromkeys("ab", YOLO_LINES), {"c": YOLO_LINES}, "names: [cat, dog]\ntrain: images/train\nval: images/val\n")


def read_label_names(content: bytes, folder: Path) -> None:
    written(folder, "dataset.json", content)
    label_names(folder)


def boxes_coco(root: Path) -> None:
    write_semantic(root)
    for path in (root / "annotations").iterdir():
        tree = json.loads(path.read_bytes())
        path.write_text(json.dumps(tree | {"annotations": [entry | {"bbox": [1, 1, 3, 2], "area": 6} for entry in tree["annotations"]]}))


COCO_BOMBS = (*JSON_BOMBS, b'{"images": [], "annotations": [], "categories": []}')

TEXT = {
    "recipe": Kind(lambda folder: [read_recipe_text("digits").encode()], read_recipe, by_words(YAML_WORDS), YAML_BOMBS),
    "plan": Kind(plans, read_plan, as_json, JSON_BOMBS),
    "metadata": Kind(metadata, read_metadata, as_json, JSON_BOMBS[:4]),
    "shards.json": Kind(manifests, lambda content, folder: read_manifest(content, "shards.json"), as_json, JSON_BOMBS),
    "dataset.json": Kind(
        lambda folder: [b'{"labels": {"background": 0, "tumour": 1}, "numTraining": 3}', b'{"labels": {"0": "background", "1": "tumour"}}'],
        read_label_names,
        as_json,
        JSON_BOMBS[:5],
    ),
    "COCO, boxes": of_source("coco_boxes", "annotations/instances_train2017.json", boxes_coco, as_json, COCO_BOMBS),
    "COCO, masks": of_source("coco_semantic", "annotations/instances_train2017.json", write_semantic, as_json, COCO_BOMBS),
    "COCO, panoptic": of_source("coco_panoptic", "annotations/panoptic_train2017.json", write_panoptic, as_json, COCO_BOMBS),
    "VOC": of_source("voc", "Annotations/b.xml", boxes_voc, by_words(XML_WORDS), XML_BOMBS),
    "YOLO": of_source("yolo", "labels/val/c.txt", boxes_yolo, by_words(LIST_WORDS), (b"\x00" * 100, b"0 " * 10**6)),
    "YOLO, data.yaml": of_source("yolo", "data.yaml", boxes_yolo, by_words(YAML_WORDS), (YAML_BOMBS[0], YAML_BOMBS[2])),
    "categories": Kind(
        lambda folder: [b"/a/airfield 0\n/b/bakery/shop 1\n"],
        lambda content, folder: read_categories(written(folder, "categories.txt", content)),
        by_words(LIST_WORDS),
        (b"", b"/a/b 1\n", b"a " + b"9" * 5000, b"a b c\n" * 10**5),
    ),
}
"""Files of text by what they are."""
