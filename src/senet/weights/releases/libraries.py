"""The libraries whose weights load here."""

from senet.weights.caffe.release import CAFFE
from senet.weights.releases.cadene import CADENE
from senet.weights.releases.library import Library
from senet.weights.releases.mmpretrain import MMPRETRAIN
from senet.weights.releases.monai import MONAI
from senet.weights.releases.moskomule import MOSKOMULE
from senet.weights.releases.pytorchcv import PYTORCHCV
from senet.weights.releases.scse import AIMED, SMP
from senet.weights.releases.timm import TIMM
from senet.weights.releases.torchvision import TORCHVISION

ALL = (CAFFE, TIMM, TORCHVISION, PYTORCHCV, CADENE, MONAI, MMPRETRAIN, MOSKOMULE, AIMED, SMP)
PUBLISHERS: dict[str, Library] = {library.name: library for library in ALL}
"""Prefix of sources, such as "timm" in "timm/legacy_seresnet50" -> library."""
