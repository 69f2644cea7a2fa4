import pytest

from data.coco.made_coco import write_panoptic, write_semantic
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
        (lambda root: root / "nowhere", "folder"),
    ],
)
def test_a_folder_says_what_it_holds(tmp_path, make, name):
    assert recognised(str(make(tmp_path))) == name
