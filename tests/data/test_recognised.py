import pytest

from data.coco.made_coco import write_panoptic, write_semantic
from data.made_boxes import voc_object, write_voc, write_yolo
from senet.data.recognised import recognised


def damaged_volumes(root):
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir()
        (root / name / "a.nii.gz").write_bytes(b"no volume")
    return root


def boxes_alone(root):
    annotations = [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 2], "segmentation": []}]
    return write_semantic(root, annotations=annotations)


def folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda root: folders(root, "train/images", "train/masks", "val/images", "val/masks"), "masks"),
        (lambda root: folders(root, "train", "trainannot"), "masks"),
        (lambda root: folders(root, "train/cat", "train/dog", "val/cat", "val/dog"), "folder"),
        (write_semantic, "coco_semantic"),
        (boxes_alone, "coco_boxes"),
        (write_panoptic, "coco_panoptic"),
        (damaged_volumes, "volumes"),
        (lambda root: write_voc(root, {"a": [voc_object("cat", (1, 1, 3, 3))]}, {"train": "a"}), "voc"),
        (lambda root: write_yolo(root, {"a": "0 0.5 0.5 0.1 0.1"}, {"b": ""}), "yolo"),
        (lambda root: write_yolo(root, {}, {}), "masks"),
        (lambda root: root / "nowhere", "folder"),
    ],
)
def test_a_folder_says_what_it_holds(tmp_path, make, name):
    assert recognised(str(make(tmp_path))) == name
