"""The papers that networks and blocks come from."""

import re
from collections.abc import Iterable

from senet.spec import KINDS, block_class
from senet.userfile import in_user_file, was_loaded

Paper = tuple[str, str]
"""Authors with the title, and number in arXiv."""

NETWORKS: dict[str, Paper] = {
    "resnet": ("He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition", "1512.03385"),
    "cifar_resnet": ("He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition", "1512.03385"),
    "preresnet": ("He, Zhang, Ren, Sun: Identity Mappings in Deep Residual Networks", "1603.05027"),
    "wrn": ("Zagoruyko, Komodakis: Wide Residual Networks", "1605.07146"),
    "resnext": ("Xie, Girshick, Dollár, Tu, He: Aggregated Residual Transformations for Deep Neural Networks", "1611.05431"),
    "senet": ("Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks", "1709.01507"),
    "bn_inception": (
        "Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
        "1502.03167",
    ),
    "inception_resnet_v": (
        "Szegedy, Ioffe, Vanhoucke, Alemi: Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
        "1602.07261",
    ),
    "vgg": ("Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition", "1409.1556"),
    "mobilenet": ("Howard et al.: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications", "1704.04861"),
    "shufflenet_g": (
        "Zhang, Zhou, Lin, Sun: ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        "1707.01083",
    ),
    "unet": (
        "Ronneberger, Fischer, Brox: U-Net: Convolutional Networks for Biomedical Image Segmentation",
        "1505.04597",
    ),
    "sd_net": (
        "Roy, Conjeti, Sheet, Katouzian, Navab, Wachinger: Error Corrective Boosting for Learning Fully Convolutional Networks with "
        "Limited Data",
        "1705.00938",
    ),
    "fc_densenet": (
        "Jégou, Drozdzal, Vazquez, Romero, Bengio: The One Hundred Layers Tiramisu: Fully Convolutional DenseNets for Semantic "
        "Segmentation",
        "1611.09326",
    ),
    "faster_rcnn": ("Ren, He, Girshick, Sun: Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks", "1506.01497"),
    "mask_rcnn": ("He, Gkioxari, Dollár, Girshick: Mask R-CNN", "1703.06870"),
    "shake_": ("Gastaldi: Shake-Shake Regularization", "1705.07485"),
}
"""How the name of a plain network begins, before its depth -> paper."""


def papers(name: str, kinds: Iterable[str] = ()) -> list[Paper]:
    """Return the papers behind a network of the registry, such as "se_resnet50", and behind blocks of these kinds, each once.

    A block of a user's file has its paper where that file was named; citing it is no reason to run the file.
    """
    plain = re.sub(rf"^({'|'.join(KINDS)})_", "", name)
    classes = [block_class(kind) for kind in kinds if not in_user_file(kind) or was_loaded(kind)]
    network = [paper for begin, paper in NETWORKS.items() if plain.startswith(begin)]
    return list(dict.fromkeys([*network, *(paper for cls in classes if (paper := cls.paper) is not None)]))
