"""Colours of classes where nothing else says them."""


def voc_palette(classes: int) -> tuple[tuple[int, int, int], ...]:
    """Return the colours of PASCAL VOC's masks (VOCdevkit's `VOClabelcolormap`) for so many classes: the first is black."""
    return tuple(_colour(index) for index in range(classes))


def _colour(index: int) -> tuple[int, int, int]:
    """Spread the bits of a class's index over three channels, lowest bits to highest places."""
    red = green = blue = 0
    for place in range(7, -1, -1):
        red |= (index & 1) << place
        green |= (index >> 1 & 1) << place
        blue |= (index >> 2 & 1) << place
        index >>= 3
    return red, green, blue
