"""The colours of the style sheet stay apart for readers who do not see red and green alike."""

import re
from importlib.resources import files
from itertools import combinations

import numpy as np
import pytest

# Machado, Oliveira, Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009), severity 1, linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
# Ottosson, "A perceptual color space for image processing" (2020): linear RGB -> cone responses -> OKLab.
CONES = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]]
OKLAB = [
    [0.2104542553, 0.7936177850, -0.0040720468],
    [1.9779984951, -2.4285922050, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.8086757660],
]


def schemes() -> dict[str, dict[str, str]]:
    style = files("senet.report").joinpath("chart.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    return {name: dict(re.findall(r"--(s\d|ink|paper): (#\w{6})", text)) for name, text in (("light", light), ("dark", dark))}


def seen(colour: str, vision: str) -> np.ndarray:
    coded = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    return np.array(OKLAB) @ np.cbrt(np.array(CONES) @ np.clip(np.array(VISION[vision]) @ linear, 0, 1))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_curves_in_one_chart_can_be_told_apart(scheme: str, vision: str) -> None:
    colours = schemes()[scheme]
    together = ["s1", "s2", "s3", "s4", "ink"]  # the four classes of an excitation chart and their mean
    distances = {
        pair: np.linalg.norm(seen(colours[pair[0]], vision) - seen(colours[pair[1]], vision)) for pair in combinations(together, 2)
    }
    assert min(distances.values()) > 0.1, distances  # 0.02 is about the smallest difference that is noticed side by side


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_two_kinds_of_bar_differ_in_lightness(scheme: str) -> None:
    """So that they differ in print, and for every reader: luminance as in WCAG 2."""
    style = files("senet.report").joinpath("chart.css").read_text()
    rules = {"s1": r"\n\.bar {.*fill-opacity: ([.\d]+)", "s2": r"\n\.s2\.bar {.*fill-opacity: ([.\d]+)"}
    opacity = {series: float(found[1]) for series, rule in rules.items() if (found := re.search(rule, style))}
    colours = schemes()[scheme]

    def luminance(series: str) -> float:
        over, under = (np.array([int(colours[name][i : i + 2], 16) for i in (1, 3, 5)]) / 255 for name in (series, "paper"))
        coded = opacity[series] * over + (1 - opacity[series]) * under
        return float(np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])

    low, high = sorted(map(luminance, opacity))
    assert (high + 0.05) / (low + 0.05) > 2
