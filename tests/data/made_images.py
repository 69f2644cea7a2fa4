"""Small image files of every format that is read."""

import struct
from io import BytesIO

import numpy as np
from PIL import Image


def image_files() -> dict[str, bytes]:
    """Return a small valid file of every format, and of every mode whose values are scaled."""
    grey = np.random.default_rng(0).integers(0, 256, (18, 24), np.uint8)
    image = Image.fromarray(np.stack([grey, 255 - grey, grey], -1))
    exif = Image.Exif()
    exif[274] = 6
    forms: dict[str, tuple[Image.Image, str, dict]] = {
        "x.jpg": (image, "JPEG", {"exif": exif}),
        "progressive.jpg": (image, "JPEG", {"progressive": True}),
        "two.mpo": (image, "MPO", {"save_all": True, "append_images": [image]}),
        "palette.png": (image.convert("P"), "PNG", {"transparency": 3}),
        "moving.png": (image, "PNG", {"save_all": True, "append_images": [image]}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), "PNG", {"exif": exif}),
        "float.tif": (Image.fromarray(grey.astype(np.float32) / 255), "TIFF", {}),
        "deep.tif": (Image.fromarray(grey.astype(np.int32)), "TIFF", {"tiffinfo": {340: 0, 341: 255}}),
        "packed.tif": (image, "TIFF", {"compression": "tiff_lzw", "exif": exif}),
        "photograph.tif": (image, "TIFF", {"compression": "jpeg"}),
        "float.pfm": (Image.fromarray(grey.astype(np.float32) / 255), "PPM", {}),
        "deep.pgm": (Image.fromarray(grey.astype(np.uint16)), "PPM", {}),
        "moving.gif": (image, "GIF", {"save_all": True, "append_images": [image]}),
        "moving.webp": (image, "WEBP", {"save_all": True, "append_images": [image], "exif": exif}),
        **{f"x.{kind.lower()}": (image, kind, {}) for kind in ("WEBP", "AVIF", "JPEG2000", "BMP", "DIB", "PCX", "PPM", "QOI", "SGI")},
    }
    files = {}
    for name, (content, kind, options) in forms.items():
        buffer = BytesIO()
        content.save(buffer, kind, **options)
        files[name] = buffer.getvalue()
    header = struct.pack(">8I", 0x59A66A95, 24, 18, 24, 24 * 18 * 3, 1, 0, 0)
    return files | {"x.ras": header + image.tobytes()}
