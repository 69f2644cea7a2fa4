"""Networks from images to boxes around objects: torchvision's detectors on backbones of this package."""
