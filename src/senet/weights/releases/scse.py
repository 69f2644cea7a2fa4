"""Weights of scSE blocks: of their authors (ai-med/squeeze_and_excitation) and of segmentation-models-pytorch.

The two join the channel and the spatial form differently, which no tensor shows.
"""

from senet.spec import BlockSpec
from senet.weights.releases.library import Library, Release

AIMED = Library(
    "aimed",
    (
        Release(
            "", "ChannelSpatialSELayer", ((r"^cSE\.", "cse."), (r"^sSE\.", "sse.")), {"block": BlockSpec("scse", combine="max")}, input=None
        ),
        Release("", "ChannelSELayer", options={"block": BlockSpec("se")}, input=None),
        Release("", "SpatialSELayer", options={"block": BlockSpec("sse")}, input=None),
    ),
)

SMP = Library(
    "smp",
    (
        Release(
            "",
            "SCSEModule",
            ((r"^cSE\.1\.", "cse.fc1."), (r"^cSE\.3\.", "cse.fc2."), (r"^sSE\.0\.", "sse.conv.")),
            {"block": BlockSpec("scse", combine="add")},
            input=None,
        ),
    ),
)
