"""The question that a comparison answers, as the title of its page."""

from collections.abc import Iterable, Sequence

from senet.recipe.compress import AS_IT_IS, COMPRESS, Compression, parse_compress
from senet.report.document import data_words
from senet.results.comparison import Result

CALLED = {
    "model.name": "networks",
    "model.block": "blocks",
    "model.placement": "placements",
    "model.stages": "stages",
    "model.reduction": "reduction ratios",
    "model.weights": "weights to begin from",
    "optim.name": "optimisers",
    "optim.lr": "learning rates",
    "schedule.name": "schedules",
    "training.epochs": "numbers of epochs",
    "segmentation.loss": "losses",
}
"""Field that is varied -> what its values are; those of all others are values of that field."""


def title(result: Result) -> str:
    """Return the question that the comparison answers."""
    data, fields = data_title(result), list(dict.fromkeys(path for variant in result.variants for path in variant.changes))
    if len(result.variants) == 2 and result.baseline.label == "plain":
        return f"What does {result.variants[1].label} buy on {data}?"
    ways = [parse_compress(str(variant.changes.get(COMPRESS, AS_IT_IS))) for variant in result.variants]
    names = _ways(way for way in ways if way is not None) if COMPRESS in fields else []
    if fields == [COMPRESS] and None in ways:
        return f"What {'does' if len(names) == 1 else 'do'} {_joined(names)} cost on {data}?"
    what = [f"ways of {_joined(names)}" if path == COMPRESS else CALLED.get(path, f"values of {_words(path)}") for path in fields]
    return f"How do {_joined(what or ['variants'])} compare on {data}?"


def data_title(result: Result) -> str:
    """Return what a reader knows the images by: the data set, or the folder of a source that only says how folders are laid out."""
    return data_words(result.data.name, result.recipe.data.root)


def _ways(compressions: Iterable[Compression]) -> list[str]:
    """Return what is done to networks that are compressed."""
    return list(dict.fromkeys("folding" if compression.rank is None else "pruning" for compression in compressions))


def _words(path: str) -> str:
    return path.rpartition(".")[2].replace("_", " ")


def _joined(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
