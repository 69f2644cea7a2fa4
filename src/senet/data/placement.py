"""Where a run's images are augmented: on its device, or by loaders on the host. The batches are the same."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from senet.data.augment import Augmentation
from senet.data.device import DeviceEvalLoader, DeviceTrainLoader
from senet.data.folder import ImageFiles
from senet.data.loaders import TrainLoader, eval_loader, train_loader
from senet.data.preparation import ImageAlone, ImagePreparation, Preparation
from senet.data.resample import rows_first
from senet.data.samplers import EpochSampler, groups_of
from senet.data.source import ArrayImages, DataSource, ImageSet, UnreadableImageError
from senet.data.stored import Room, StaysOnHostError, store_images
from senet.data.transforms import EvalTransform, TrainTransform, centre_crop, one_crop, resize_shorter
from senet.data.views import Views
from senet.data.waiting import BatchLoader
from senet.errors import UsageError
from senet.recipe import DataRecipe
from senet.spec import InputSpec

TrainBatches = TrainLoader | DeviceTrainLoader
EvalBatches = BatchLoader | DeviceEvalLoader

MEMORY_SHARE = 4
"""Part of the free memory, as a divisor, that images may take where nobody asked for it."""

log = logging.getLogger("senet")
Loader = TypeVar("Loader")


@dataclass(frozen=True)
class TrainingPlace:
    """Device of one process of a run, and its share of the images.

    Args:
        device: its device.
        layout: memory layout of training images.
        rank: this process.
        world: number of processes.
    """

    device: torch.device
    layout: torch.memory_format = torch.contiguous_format
    rank: int = 0
    world: int = 1


def training_batches(source: DataSource, recipe: DataRecipe, preparation: Preparation, place: TrainingPlace, *, seed: int) -> TrainBatches:
    """Return the batches of a source's training images, augmented on the device if `data.on_device` says or allows so.

    Raises:
        UsageError: if it asks for what is impossible; the reason is named.
    """

    def on_device() -> DeviceTrainLoader:
        images, spec = source.train, source.input
        sampler = EpochSampler.of(images.targets, recipe, groups_of(images), seed=seed, rank=place.rank, world=place.world)
        room = _room(images, recipe, preparation, place)
        _check_transform(preparation.train_transform(recipe, spec), TrainTransform(recipe, spec))
        as_they_are = recipe.crop == "random_resized" or bool(recipe.rotation)
        if as_they_are and rows_first() is None:
            raise StaysOnHostError("this version of Pillow resizes in a way that is not known here")
        store = store_images(images, np.arange(len(images)), spec, None if as_they_are else _fit(spec), room)
        if recipe.rotation and recipe.crop != "random_resized" and (store.sizes != store.sizes[:, :1]).any():
            raise StaysOnHostError("images of several sizes are rotated there only if data.crop is random_resized")
        try:
            return DeviceTrainLoader(Augmentation(recipe, spec, store, seed), sampler, place.layout)
        except UnreadableImageError as error:
            raise StaysOnHostError(str(error), damaged=True) from error

    def on_host() -> TrainLoader:
        return train_loader(source, recipe, preparation, seed=seed, rank=place.rank, world=place.world)

    return _chosen(recipe, place, "training", on_device, on_host)


def validation_batches(source: DataSource, recipe: DataRecipe, preparation: Preparation, place: TrainingPlace) -> EvalBatches:
    """Return the batches of a source's validation images, one central crop of each, kept on the device if `data.on_device` says or allows.

    Raises:
        UsageError: if it asks for what is impossible; the reason is named.
    """

    def on_device() -> DeviceEvalLoader:
        images, spec = source.val, source.input
        room = _room(images, recipe, preparation, place)
        _check_transform(preparation.eval_transform(spec, Views()), EvalTransform(spec, one_crop))
        store = store_images(images, np.arange(place.rank, len(images), place.world), spec, _fit(spec), room)
        return DeviceEvalLoader(store, spec, recipe.eval_batch_size or recipe.batch_size)

    def on_host() -> BatchLoader:
        return eval_loader(source, recipe, preparation, rank=place.rank, world=place.world)

    return _chosen(recipe, place, "validation", on_device, on_host)


def _chosen(recipe: DataRecipe, place: TrainingPlace, split: str, on_device: Callable[[], Loader], on_host: Callable[[], Loader]) -> Loader:
    asked_for = recipe.on_device
    if asked_for is False or (asked_for is None and place.device.type != "cuda"):
        return on_host()
    try:
        return on_device()
    except StaysOnHostError as error:
        if asked_for:
            raise UsageError(
                f"data.on_device true: the {split} images cannot be augmented on {place.device}: {error}; leave it out, or set it to false"
            ) from error
        log.log(logging.WARNING if error.damaged else logging.INFO, "the %s images stay on the host: %s", split, error)
        return on_host()


def _room(images: ImageSet, recipe: DataRecipe, preparation: Preparation, place: TrainingPlace) -> Room:
    """Return how much room there is for images.

    Raises:
        StaysOnHostError: if they or what prepares them are of a kind that is not taken, or not without being asked for.
    """
    if getattr(preparation.collate, "__func__", None) is not ImagePreparation.collate:
        raise StaysOnHostError("the task joins its batches in a way of its own")
    if recipe.on_device:
        return Room(place.device, None)
    if type(images) not in (ArrayImages, ImageFiles):
        raise StaysOnHostError(f"nothing says whether {type(images).__name__} gives the same image each time; data.on_device true says so")
    if type(images) is ImageFiles and place.world > 1:
        raise StaysOnHostError(f"each of {place.world} processes would read all files; data.on_device true lets them")
    free, _ = torch.cuda.mem_get_info(place.device)
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else free  # not on Windows
    return Room(place.device, min(free, host) // MEMORY_SHARE)


def _check_transform(found: object, standard: TrainTransform | EvalTransform) -> None:
    if type(found) is not ImageAlone or type(found.transform) is not type(standard) or found.transform != standard:
        raise StaysOnHostError("the task transforms them in a way of its own")


def _fit(spec: InputSpec) -> Callable[[Image.Image], Image.Image]:
    return lambda image: centre_crop(resize_shorter(image, spec.resize), spec.size)
