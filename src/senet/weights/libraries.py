"""The libraries whose weights load here, by the prefix of their sources."""

from senet.weights.cadene import CADENE
from senet.weights.caffe import CAFFE
from senet.weights.library import Library
from senet.weights.mmpretrain import MMPRETRAIN
from senet.weights.monai import MONAI
from senet.weights.moskomule import MOSKOMULE
from senet.weights.pytorchcv import PYTORCHCV
from senet.weights.scse import AIMED, SMP
from senet.weights.timm import TIMM
from senet.weights.torchvision import TORCHVISION

ALL = (CAFFE, TIMM, TORCHVISION, PYTORCHCV, CADENE, MONAI, MMPRETRAIN, MOSKOMULE, AIMED, SMP)
LIBRARIES: dict[str, Library] = {library.name: library for library in ALL}
