"""What a recipe says of segmentation alone: the loss, augmentation that moves masks, whole images in evaluation, how regions are judged."""

from dataclasses import dataclass
from typing import Literal

from senet.errors import UsageError


@dataclass(frozen=True)
class SegmentationRecipe:
    """Loss, joint augmentation, evaluation and metrics of masks; no other task reads it.

    Args:
        loss: ce (cross-entropy), dice, focal, or a sum of them: "ce+dice".
        class_weights: weight of each class in ce and focal: one number a class; "median_frequency" (Eigen and Fergus 2015: median of the
            frequencies over the class's own, each among the images that have the class); "ai_med" (the scSE authors'
            estimate_weights_mfb: median pixel count // the class's own, 0 for common ones); null = 1.
        edge_weight: added to the weight of pixels on edges of the labels; the scSE authors add 2.
        focal_gamma: exponent of the focal loss.
        foreground: share of training crops that are laid over a pixel of a class other than the first.
        zoom: range of the factor by which training images are enlarged.
        elastic: largest displacement of an elastic deformation, in pixels; 0 = none.
        elastic_grid: distance of the points that it moves independently, in pixels.
        brightness: largest shift of all values of a training image, in standard deviations of the normalised values.
        contrast: largest relative change of the spread of its values around their mean.
        gamma_correction: largest exponent by which its values are bent, and the inverse of the smallest; 1 = none.
        noise: largest standard deviation of normal noise, in standard deviations of the normalised values.
        blur: largest standard deviation of a Gaussian blur, in pixels.
        window: side of the windows in which larger images are predicted, in pixels, one number or one an axis; null = whole images. Two
            numbers are for images alone: volumes are predicted in windows as large as their patches then, as with null.
        overlap: share of its side that a window has in common with the next one.
        flips: average the predictions over mirror images along every axis, 4 of an image.
        region_sizes: largest pixels of small and of medium regions; null = thirds of the regions of the validation masks.
        boundary_tolerance: pixels by which a boundary may be off.
    """

    loss: str = "ce+dice"
    class_weights: Literal["median_frequency", "ai_med"] | tuple[float, ...] | None = None
    edge_weight: float = 0.0
    focal_gamma: float = 2.0
    foreground: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    elastic_grid: int = 32
    brightness: float = 0.0
    contrast: float = 0.0
    gamma_correction: float = 1.0
    noise: float = 0.0
    blur: float = 0.0
    window: int | tuple[int, ...] | None = None
    overlap: float = 0.5
    flips: bool = False
    region_sizes: tuple[int, int] | None = None
    boundary_tolerance: float = 2.0

    def __post_init__(self) -> None:
        low, high = self.zoom
        if not 0.01 <= low <= high <= 100:
            raise UsageError(f"segmentation.zoom must be two factors, 0.01 <= low <= high <= 100, got {low} and {high}")
        if self.region_sizes is not None and not 1 <= self.region_sizes[0] < self.region_sizes[1]:
            raise UsageError(f"segmentation.region_sizes must be two numbers of pixels, 1 <= small < medium, got {list(self.region_sizes)}")
        if self.window is not None and min(self.window if isinstance(self.window, tuple) else [self.window], default=0) < 1:
            raise UsageError(f"segmentation.window must be at least 1 pixel, got {self.window}")
        if isinstance(self.class_weights, tuple) and not (
            min(self.class_weights, default=0) >= 0 and max(self.class_weights, default=0) > 0
        ):
            raise UsageError(f"segmentation.class_weights must be numbers of at least 0, one above it, got {list(self.class_weights)}")
