"""The frozen dataclass tree `Recipe`: an experiment as data. No torch."""

import hashlib
import json
from dataclasses import dataclass, fields
from math import inf
from typing import Any, Literal

import yaml

from senet.errors import UsageError
from senet.file_kind import is_url, user_path
from senet.recipe.detection import DetectionRecipe
from senet.recipe.model import WEIGHTS_OPTIONS, ModelRecipe
from senet.recipe.names import check_run_name
from senet.recipe.optim import OptimRecipe, PartEpochs
from senet.recipe.plain_tree import plain_tree
from senet.recipe.segmentation import SegmentationRecipe
from senet.recipe.volumes import VolumeRecipe
from senet.recipe.weights_identity import weights_identity
from senet.schema import brief
from senet.userfile import in_user_file

CLASSIFICATION = "classification"
"""The task of a recipe that names none."""


@dataclass(frozen=True)
class DataRecipe:
    """Images, and the way they are augmented and batched.

    Args:
        name: the source of the images: digits, cifar10, cifar100, folder, shards, places365, masks, coco_panoptic, coco_semantic, boxes,
            coco_boxes, voc, yolo, volumes, or a function of your own, path/to/file.py:function.
        root: folder of the images, for shards also an address such as s3://bucket/folder; digits needs none.
        download: fetch what is missing into root (CIFAR only).
        num_classes: number of classes that must be found; null = whatever the source has.
        image_size: side of the square the network sees, in pixels; null = the source's own size.
        crop: training crop: none, "pad" (zero-pad, then crop a random window) or "random_resized".
        pad: pixels of zero padding on each side for crop "pad".
        scale: range of the area of a random-resized crop, as a share of the image.
        ratio: range of the aspect ratio of a random-resized crop.
        flip: mirror half of the training images.
        rotation: largest rotation of a training image, in degrees.
        jitter: largest shift of each colour channel of a training image, in 1/255.
        cutout: side of the square that Cutout blanks, in pixels; 0 = none.
        eval_resize: shorter side before the centre crop of an image, in pixels; null = 256/224 of image_size for folder and
            places365, else image_size.
        mean: mean of each channel of images in 0..1; null = the source's.
        std: standard deviation of each channel; null = the source's.
        range: the two values that are black and white in images of more than 8 bits, such as [0, 4095]; null = what each file says.
        max_pixels: largest width x height of an image file; a larger one counts as unreadable.
        sampler: "shuffle" (each image once an epoch), "class_aware" (Relay BP: classes in turn) or "by_shard" (each image once, few shards
            at a time: for shards that are fetched and do not all fit on the disk).
        batch_size: images in a step, over all processes.
        min_steps: steps that an epoch has at least: few images come again in it, augmented anew, until there are as many.
        eval_batch_size: images in an evaluation step; null = batch_size.
        workers: loader processes; null = what the machine can spare. Results do not depend on it.
        max_corrupt: share of unreadable images beyond which the run fails.
        on_device: keep the images on the training device and augment them there by the batch, to the same values; null = on a GPU,
            where they fit and nothing stands against it.
        masks: what a pixel of a mask says: "index" (a label), "colour" (one of the palette, whose place is the label) or "instances" (which
            object; background is 0, all objects 1); null = what folder and first mask show.
        classes: names of the classes of masks or boxes, in the order of their indices; null = those that are found.
        palette: colour of each label of colour-mapped masks, [[0, 0, 0], [128, 0, 0], ...]; of others, colours to show classes in.
        label_map: label of a mask -> class, or null to ignore it; "others" stands for all labels that it does not name.
        ignore_index: label of a mask that is ignored; null = none in volumes, nor in masks that hold 0 and one other label
            alone, which is class 1; 255 in other masks.
        val_share: share of the images that are held out where a folder does not say which are.
        volumes: what becomes of NIfTI volumes.
    """

    name: str = "digits"
    root: str | None = None
    download: bool = False
    num_classes: int | None = None
    image_size: int | None = None
    crop: Literal["none", "pad", "random_resized"] = "none"
    pad: int = 4
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    rotation: float = 0.0
    jitter: float = 0.0
    cutout: int = 0
    eval_resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    range: tuple[float, float] | None = None
    max_pixels: int = 52_000_000
    sampler: Literal["shuffle", "class_aware", "by_shard"] = "shuffle"
    batch_size: int = 128
    min_steps: int = 1
    eval_batch_size: int | None = None
    workers: int | None = None
    max_corrupt: float = 0.001
    on_device: bool | None = None
    masks: Literal["index", "colour", "instances"] | None = None
    classes: tuple[str, ...] | None = None
    palette: tuple[tuple[int, int, int], ...] | None = None
    label_map: dict[int | Literal["others"], int | None] | None = None
    ignore_index: int | None = None
    val_share: float = 0.2
    volumes: VolumeRecipe = VolumeRecipe()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class ScheduleRecipe:
    """Course of the learning rate.

    Args:
        name: constant; step (x gamma at each milestone); cosine (per iteration, to 0); plateau (x gamma when validation loss stalls).
        milestones: epochs at which "step" multiplies by gamma.
        gamma: factor of "step" and "plateau".
        patience: epochs without a lower validation loss before "plateau" acts.
        max_drops: how often "plateau" lowers the rate; the run ends when it would have to once more. null = no limit.
        warmup_steps: iterations of linear warm-up; a tenth of the run, said aloud, where they would not end before it does.
        warmup_start: the rate at the first warm-up iteration, as a share of lr.
        warmup_shape: "linear" rises to lr; "constant" holds the first rate until the warm-up ends (ResNet-110).
    """

    name: Literal["constant", "step", "cosine", "plateau"] = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    patience: int = 10
    max_drops: int | None = None
    warmup_steps: int = 0
    warmup_start: float = 0.1
    warmup_shape: Literal["linear", "constant"] = "linear"


@dataclass(frozen=True)
class TrainingRecipe:
    """Length and manner of training.

    Args:
        epochs: passes over the training images (an upper limit for the plateau schedule).
        label_smoothing: share of the target spread over all classes.
        freeze_bn_epochs: the last epochs in which BatchNorm keeps its statistics, gamma and beta.
        ema_decay: decay of the running average of the weights that is evaluated and saved; null = none.
        precision: fp32, or autocast to bf16 or fp16.
        channels_last: memory layout of weights and images.
        compile: run the network through torch.compile.
        cuda_graph: start each step as one CUDA graph, with the same weights; null = wherever that is possible.
        nonfinite: what becomes of a step whose loss or gradients are not finite: it ends the run (stop), or changes nothing and is counted
            (skip).
        accumulate: parts, one after the other, in which each process takes its images of a step; their gradients add up to the step's.
        sync_bn: normalise by the images of all processes, as one process with the whole batch does, and not by each one's own.
        save_steps: also write last.ckpt after every so many steps; null = each epoch only.
        unfreeze: epochs that pass before head, blocks and host train.
        out_of_memory: what becomes of a step for which memory runs out: it ends the run (stop), or is taken again in twice as many
            parts, as are those after it (halve).
    """

    epochs: int = 10
    label_smoothing: float = 0.0
    freeze_bn_epochs: int = 0
    ema_decay: float | None = None
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    compile: bool = False
    cuda_graph: bool | None = None
    nonfinite: Literal["stop", "skip"] = "stop"
    accumulate: int = 1
    sync_bn: bool = False
    save_steps: int | None = None
    unfreeze: PartEpochs = PartEpochs()  # noqa: RUF009 - frozen
    out_of_memory: Literal["stop", "halve"] = "stop"


@dataclass(frozen=True)
class Recipe:
    """An experiment, complete: the same recipe and seed give the same weights.

    Args:
        name: what the recipe is called; run folders begin with it.
        about: one line on what it is and where its numbers come from.
        seed: seeds the weights, the order of the images and every image's augmentation.
        task: what is predicted: classification, segmentation, detection, or a task of your own, path/to/file.py:factory.
        model: the network and its block.
        data: the images.
        optim: the optimiser.
        schedule: the learning rate over time.
        training: length and numerics.
        segmentation: what only the task of that name reads.
        detection: what only the task of that name reads.
    """

    name: str = "custom"
    about: str = ""
    seed: int = 0
    task: str = CLASSIFICATION
    model: ModelRecipe = ModelRecipe()  # noqa: RUF009 - frozen
    data: DataRecipe = DataRecipe()
    optim: OptimRecipe = OptimRecipe()  # noqa: RUF009 - frozen
    schedule: ScheduleRecipe = ScheduleRecipe()
    training: TrainingRecipe = TrainingRecipe()
    segmentation: SegmentationRecipe = SegmentationRecipe()  # noqa: RUF009 - frozen
    detection: DetectionRecipe = DetectionRecipe()  # noqa: RUF009 - frozen

    def __post_init__(self) -> None:
        check_run_name(self.name)
        check_ranges("", self)
        for section in ("data", "optim", "schedule", "training", "segmentation", "detection"):
            check_ranges(section, getattr(self, section))
        check_ranges("data.volumes", self.data.volumes)
        check_ranges("optim.groups", self.optim.groups)
        check_ranges("training.unfreeze", self.training.unfreeze)
        plain_tree(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested plain data, ready for JSON or YAML."""
        return plain_tree(self)  # tuples become lists, per-stage keys strings: one form whatever the origin

    def to_yaml(self) -> str:
        """Return the recipe as YAML that `load_recipe` reads back to an equal recipe."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, width=120)

    def digest(self) -> str:
        """Return 12 hexadecimal digits that are equal when two recipes give the same weights."""
        tree = self.to_dict()
        for section, name in NO_EFFECT:
            (tree[section] if section else tree).pop(name)
        if self.task == CLASSIFICATION:  # recipes had no other task when the first digests were taken
            tree.pop("task")
        for section, name in ADDED:  # nor these fields
            if getattr(getattr(self, section), name) == getattr(getattr(Recipe, section), name):
                tree[section].pop(name)
        tree = {name: value for name, value in tree.items() if value != {}}
        if (self.data.name in ROOT_DECIDES or in_user_file(self.data.name)) and self.data.root is not None:
            tree["data"]["root"] = self.data.root if is_url(self.data.root) else str(user_path(self.data.root).resolve())
        if self.model.weights is not None:
            tree["model"]["weights"] = weights_identity(self.model.weights)
        for name, value in tree["model"]["options"].items():
            if name in WEIGHTS_OPTIONS and isinstance(value, str):
                tree["model"]["options"][name] = weights_identity(value)
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:12]


LARGEST_COUNT = 10**9
"""More than any count can be."""

LONGEST_SIDE = 2**14
"""Pixels of the largest side of an image."""

RANGES = {
    "seed": (-(2**63), 2**63 - 1),
    "data.num_classes": (1, 10**6),
    "data.image_size": (1, LONGEST_SIDE),
    "data.pad": (0, LONGEST_SIDE),
    "data.rotation": (0, 180),
    "data.jitter": (0, 255),
    "data.cutout": (0, LONGEST_SIDE),
    "data.eval_resize": (1, 2 * LONGEST_SIDE),
    "data.max_pixels": (1, 178_956_970),
    "data.batch_size": (1, LARGEST_COUNT),
    "data.min_steps": (1, 10**5),
    "data.eval_batch_size": (1, LARGEST_COUNT),
    "data.workers": (0, 4096),
    "data.max_corrupt": (0, 1),
    "data.ignore_index": (0, 2**16 - 1),
    "data.val_share": (0, 1),
    "data.volumes.empty": (0, 1),
    "data.volumes.patches": (1, LARGEST_COUNT),
    "data.volumes.max_voxels": (1, 2**33),
    "optim.lr": (0, 1e6),
    "optim.lr_batch_size": (1, LARGEST_COUNT),
    "optim.momentum": (0, 1),
    "optim.eps": (0, 1),
    "optim.weight_decay": (0, 1e6),
    "optim.clip_norm": (0, inf),
    **dict.fromkeys(("optim.groups.head", "optim.groups.blocks", "optim.groups.host"), (0, 1e6)),
    "optim.layer_decay": (0.01, 1),
    "schedule.gamma": (0, 1),
    "schedule.patience": (0, LARGEST_COUNT),
    "schedule.max_drops": (0, LARGEST_COUNT),
    "schedule.warmup_steps": (0, LARGEST_COUNT),
    "schedule.warmup_start": (0, 1),
    "training.epochs": (1, LARGEST_COUNT),
    "training.label_smoothing": (0, 1),
    "training.freeze_bn_epochs": (0, LARGEST_COUNT),
    "training.accumulate": (1, LARGEST_COUNT),
    "training.save_steps": (1, LARGEST_COUNT),
    **dict.fromkeys(("training.unfreeze.head", "training.unfreeze.blocks", "training.unfreeze.host"), (0, LARGEST_COUNT)),
    "segmentation.edge_weight": (0, 1e6),
    "segmentation.focal_gamma": (1, 100),
    "segmentation.foreground": (0, 1),
    "segmentation.elastic": (0, LONGEST_SIDE),
    "segmentation.elastic_grid": (2, LONGEST_SIDE),
    "segmentation.brightness": (0, 100),
    "segmentation.contrast": (0, 1),
    "segmentation.gamma_correction": (1, 10),
    "segmentation.noise": (0, 100),
    "segmentation.blur": (0, 100),
    "segmentation.overlap": (0, 0.99),
    "segmentation.boundary_tolerance": (0, LONGEST_SIDE),
    "detection.longest_side": (1, LONGEST_SIDE),
    "detection.eval_shorter_side": (1, LONGEST_SIDE),
    "detection.crop_share": (0.01, 1),
    "detection.photometric": (0, 1),
    "detection.score_threshold": (0, 1),
    "detection.max_detections": (1, 10**5),
    "detection.shown_score": (0, 1),
}
"""Smallest and largest value of a number."""


def check_ranges(section: str, recipe: Any) -> None:
    """Raise UsageError if a number of one section of a recipe is outside what it can be."""
    for path, (low, high) in RANGES.items():
        where, _, name = path.rpartition(".")
        value = getattr(recipe, name) if where == section else None
        if value is not None and not low <= value <= high:  # false for nan, too
            limits = f"at least {low}" if value < low and high in (LARGEST_COUNT, inf) else f"between {low} and {high}"
            raise UsageError(f"{path} must be {limits}, got {value if isinstance(value, float) else brief(value)}")


NO_EFFECT = (
    ("", "name"),
    ("", "about"),
    ("data", "root"),
    ("data", "download"),
    ("data", "workers"),
    ("data", "on_device"),
    ("training", "cuda_graph"),
    ("training", "save_steps"),
)
"""(section, field) of what a recipe can change without changing the weights it trains."""

ADDED = (
    ("model", "weights"),
    ("model", "init"),
    ("model", "compress"),
    ("data", "range"),
    ("data", "min_steps"),
    ("data", "max_pixels"),
    ("data", "masks"),
    ("data", "classes"),
    ("data", "palette"),
    ("data", "label_map"),
    ("data", "ignore_index"),
    ("data", "val_share"),
    ("data", "volumes"),
    *(("optim", name) for name in ("lr_batch_size", "name", "betas", "eps", "groups", "layer_decay")),
    *(("training", name) for name in ("unfreeze", "nonfinite", "accumulate", "sync_bn", "out_of_memory")),
    *(("segmentation", entry.name) for entry in fields(SegmentationRecipe)),
    *(("detection", entry.name) for entry in fields(DetectionRecipe)),
)
"""(section, field) of what has a part in a digest only where it is not at its default."""

ROOT_DECIDES = (
    "folder", "shards", "places365", "masks", "coco_panoptic", "coco_semantic", "boxes", "coco_boxes", "voc", "yolo", "volumes",
)  # fmt: skip
"""The sources whose root says which images they are; elsewhere the name alone does."""
