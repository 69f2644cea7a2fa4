"""Pictures of the gates of positions that a trained network has on the images that are predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from senet.analysis.gate_sheet import gate_sheet
from senet.analysis.spatial import record_spatial_gates, spatial_gate_paths
from senet.errors import UsageError
from senet.training.members import Member
from senet.training.predict_volumes import grey_picture


@dataclass(frozen=True)
class GateSheets:
    """Sheets of heat maps of one network.

    Args:
        member: the network.
        patch: sides of what is seen of a volume, around its middle; None = all of it.
    """

    member: Member
    patch: Sequence[int] | None

    @classmethod
    def of(cls, members: Sequence[Member], crops: str, patch: Sequence[int] | None) -> "GateSheets":
        """Return the sheets of a network.

        Raises:
            UsageError: for several networks or crops, or a network that has no gates of positions.
        """
        if len(members) > 1:
            raise UsageError("the gates of one network are shown, and there are several weights: name one")
        if crops != "centre":
            raise UsageError(f"gates are shown over the image as it is, not over crops {crops!r}: leave crops at 'centre'")
        if not spatial_gate_paths(members[0].model):
            raise UsageError(
                f"{members[0].name} has no gates of positions to show; networks with sSE or scSE blocks have, such as scse_unet"
            )
        return cls(members[0], patch)

    def draw(self, view: Tensor) -> Image.Image:
        """Return the sheet of an image (C, H, W) as the network sees it, or of the middle of a volume (C, D, H, W)."""
        if self.patch is not None:
            for axis, side in enumerate(self.patch, start=1):
                view = view.narrow(axis, max(0, view.shape[axis] - side) // 2, min(side, view.shape[axis]))
        return gate_sheet(seen_image(view), record_spatial_gates(self.member.model, view[None]))


def seen_image(view: Tensor) -> Image.Image:
    """Return what a network sees, (C, H, W) or the middle of (C, D, H, W), as a grey image: the mean over its channels."""
    return grey_picture((view[:, view.shape[1] // 2] if view.ndim == 4 else view).mean(0).numpy())
