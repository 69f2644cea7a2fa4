"""Which image goes into which shard."""

import hashlib
from dataclasses import dataclass

import numpy as np

from senet.data.fingerprint import array_parts, file_sizes
from senet.data.folder import ImageFiles
from senet.data.shards.forms import TargetForm
from senet.data.shards.tar import member_bytes


@dataclass(frozen=True)
class SplitPlan:
    """Shards of one split before they are written.

    Args:
        name: of the split.
        images: what goes into them; numbers of images are their places in it.
        form: of their targets.
        shards: for each shard the numbers of its images, in the order of writing.
        bytes_of: about how large each shard is.
        digest: of the images' names, sizes and targets, and of the shards.
    """

    name: str
    images: ImageFiles
    form: TargetForm
    shards: tuple[np.ndarray, ...]
    bytes_of: tuple[int, ...]
    digest: str

    @property
    def index_name(self) -> str:
        """What the file of the images' places is called."""
        return f"{self.name}.npz"

    def file_name(self, shard: int) -> str:
        """Return what a shard is called."""
        return f"{self.name}-{shard:06d}.tar"


def plan_split(name: str, images: ImageFiles, form: TargetForm, shard_bytes: int, *, mixed: bool) -> SplitPlan:
    """Deal the images of a split out to shards.

    Args:
        name: of the split.
        images: its images.
        form: of their targets.
        shard_bytes: size that a shard is to have; one image more makes it larger.
        mixed: whether images are dealt out in an order of chance, always the same: classes that come one after the other are then spread
            over all shards.
    """
    sizes = file_sizes(images, range(len(images)))
    order = np.random.default_rng(0).permutation(len(images)) if mixed else np.arange(len(images))
    needed = (member_bytes(np.maximum(sizes, 0)) + form.about_bytes(images))[order]
    shard_of = (np.cumsum(needed) - 1) // shard_bytes
    cuts = np.flatnonzero(np.diff(shard_of)) + 1
    shards, bytes_of = tuple(np.split(order, cuts)), tuple(int(part.sum()) for part in np.split(needed, cuts))
    digest = hashlib.sha256(f"{name} {shard_bytes} {mixed} {len(images)}".encode())
    for values in (images.paths, sizes):
        digest.update(b"".join(array_parts(values)))
    digest.update(b"".join(form.identity(images)))
    return SplitPlan(name, images, form, shards, bytes_of, digest.hexdigest())
