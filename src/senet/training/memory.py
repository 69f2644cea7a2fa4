"""Memory that runs out while a run is built or trained, told in one line with what to lower."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from senet.measuring.exhaustion import is_out_of_memory
from senet.recipe import Recipe
from senet.results.run_folder import RunFolder
from senet.text import message_line
from senet.training.launch import resume_command

ASKED = re.compile(r"tried to allocate (\d+ bytes|[\d.]+ [KMGTPE]?i?B)|[Uu]nable to allocate ([\d.]+ [KMGTPE]?i?B)", re.IGNORECASE)
"""How torch and NumPy say how much could not be had."""


class MemoryExhaustedError(Exception):
    """Memory that a run does not have."""

    exit_code = 1


@contextmanager
def memory_named(recipe: Recipe, run: RunFolder) -> Iterator[None]:
    """Say in one line, if memory runs out while the block runs, what of a recipe can be lowered and how its run goes on.

    Raises:
        MemoryExhaustedError: then; what was saved stays as it is, for the step in hand may have changed a part of the state.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryExhaustedError(message_line(f"{_exhausted(error)}: {_ways(recipe)}; {_advice(recipe, run)}")) from error


def _exhausted(error: Exception) -> str:
    found = ASKED.search(str(error))
    amount = next(filter(None, found.groups())) if found else None
    where = "a CUDA device" if "CU" in str(error) and "CPU" not in str(error) else "the host"
    return f"the memory of {where} ran out{f' when {amount} more were asked for' if amount else ''}"


def _ways(recipe: Recipe) -> str:
    """Return in words what of a recipe takes memory and can be lowered."""
    data = recipe.data
    ways = {
        f"data.batch_size (it is {data.batch_size})": data.batch_size > 1,
        f"data.eval_batch_size (it is {data.eval_batch_size})": (data.eval_batch_size or 1) > 1,
        "data.image_size": True,
        "data.workers, each of which holds batches": data.workers != 0,
    }
    precision = "; on a GPU training.precision bf16 takes less" if recipe.training.precision == "fp32" else ""
    accumulate = 2 * recipe.training.accumulate
    parts = (
        f"take steps in {accumulate} parts, training.accumulate {accumulate} (training.out_of_memory halve finds how many), or "
        if accumulate <= data.batch_size and recipe.training.out_of_memory == "stop"
        else ""
    )
    return f"{parts}lower {', '.join(way for way, is_open in ways.items() if is_open)}{precision}"


def _advice(recipe: Recipe, run: RunFolder) -> str:
    if not run.has_checkpoint():
        return "nothing has been saved yet, begin again"
    smaller = f" --data.batch_size {max(1, recipe.data.batch_size // 2)} --accept-changes" if recipe.data.batch_size > 1 else ""
    return f"go on with `{resume_command(run)}{smaller}`"
