"""An experiment as data: the frozen dataclass tree `Recipe`, read from YAML and flags and written back as resolved. No torch."""

from senet.recipe.build import build_recipe, check_tree, override
from senet.recipe.code import code_of
from senet.recipe.detection import DetectionRecipe
from senet.recipe.files import RecipeFile, annotated_recipe, check_code_of, list_recipes, load_recipe, read_recipe_text, recipe_files
from senet.recipe.model import WEIGHTS_OPTIONS, ModelRecipe
from senet.recipe.optim import OptimRecipe, PartEpochs, PartRates
from senet.recipe.paths import field_path, field_paths
from senet.recipe.segmentation import SegmentationRecipe
from senet.recipe.tree import (
    CLASSIFICATION,
    NO_EFFECT,
    RANGES,
    DataRecipe,
    Recipe,
    ScheduleRecipe,
    TrainingRecipe,
    check_ranges,
)
from senet.recipe.values import parse_text
from senet.recipe.volumes import VolumeRecipe
from senet.recipe.yaml_text import parse_yaml

__all__ = [
    "CLASSIFICATION",
    "NO_EFFECT",
    "RANGES",
    "WEIGHTS_OPTIONS",
    "DataRecipe",
    "DetectionRecipe",
    "ModelRecipe",
    "OptimRecipe",
    "PartEpochs",
    "PartRates",
    "Recipe",
    "RecipeFile",
    "ScheduleRecipe",
    "SegmentationRecipe",
    "TrainingRecipe",
    "VolumeRecipe",
    "annotated_recipe",
    "build_recipe",
    "check_code_of",
    "check_ranges",
    "check_tree",
    "code_of",
    "field_path",
    "field_paths",
    "list_recipes",
    "load_recipe",
    "override",
    "parse_text",
    "parse_yaml",
    "read_recipe_text",
    "recipe_files",
]
