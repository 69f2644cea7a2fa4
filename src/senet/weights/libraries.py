"""The libraries whose weights load here, by the prefix of their sources."""

from senet.weights.caffe import CAFFE
from senet.weights.library import Library
from senet.weights.pytorchcv import PYTORCHCV
from senet.weights.timm import TIMM
from senet.weights.torchvision import TORCHVISION

LIBRARIES: dict[str, Library] = {library.name: library for library in (CAFFE, TIMM, TORCHVISION, PYTORCHCV)}
