"""Masks of COCO's JSON files: polygons and run lengths of objects, and panoptic PNG files."""
