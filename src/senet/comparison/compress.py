"""A trained network, compressed in several ways and fine-tuned alike: a comparison whose variants all begin from the same weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from senet.comparison.run import Plan, carry_out
from senet.comparison.variants import Variant, expand
from senet.errors import UsageError
from senet.recipe import Recipe, build_recipe, code_of, override
from senet.recipe.compress import AS_IT_IS, COMPRESS, Compression
from senet.results.comparison import Result
from senet.results.run_folder import RunFolder
from senet.spec import check_positive
from senet.text import printable
from senet.training.evaluation_request import EvaluationRequest
from senet.weights.loaded import called_after
from senet.weights.source import Source


def compare_compressed(
    weights: str | Path,
    ways: Sequence[Compression],
    recipe: Recipe,
    *,
    steps: int = 1,
    seeds: int = 3,
    jobs: int | None = None,
    out: str | Path = "runs",
    report: bool = True,
    progress: bool = True,
    command: str = "",
) -> Result:
    """Compress a trained network in several ways, fine-tune each by the same recipe, and compare them with the network fine-tuned whole.

    Runs live in `<out>/compress-<name of the weights>/`, as those of `senet.compare` do: what is finished is used, what was interrupted
    goes on. Result and page are named by what is left: result-latency0.7.json, report-latency0.7.html.

    Args:
        weights: a run's folder, or a file of weights; it is not changed.
        ways: how the network is compressed.
        recipe: how it is fine-tuned, see `fine_tuning_of`.
        steps: in how many goes a network is pruned, each followed by a whole fine-tuning.
        seeds: how many seeds, counted from the recipe's own.
        jobs: how many runs train at a time.
        out: where the comparison gets its folder.
        report: whether to write the page.
        progress: whether to show progress on stderr.
        command: what stands in the result as the command that gives it again.

    Raises:
        UsageError: as `senet.compare` does, and if a network is to be folded in several steps.
    """
    if steps > 1 and any(way.rank is None for way in ways):
        raise UsageError("gates are folded in one step: leave out --steps")
    whole, *others = expand(recipe, {COMPRESS: [AS_IT_IS, *(way.text for way in ways)]})
    variants = [whole, *(_in_steps(variant, check_positive("steps", steps)) for variant in others)]
    endings = dict.fromkeys(way.ending for way in ways) | ({f"{steps}steps": None} if steps > 1 else {})
    ending = "".join(f"-{part}" for part in endings)
    plan = Plan(recipe, tuple(variants), check_positive("seeds", seeds), Path(out) / f"compress-{called_after(weights)}", command, ending)
    return carry_out(plan, jobs=jobs, report=report, progress=progress)


def fine_tuning_of(weights: str | Path, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe by which a trained network is fine-tuned: its own network, task and images, trained as another recipe says.

    Args:
        weights: a run's folder, or a file of weights that says how it was trained.
        recipe: gives optimiser, schedule, training and seed.
        changes: dotted fields of the outcome that are to be something else; those of the network cannot.

    Raises:
        UsageError: if the weights do not say how they were trained, name code that nobody allowed, or `changes` has a field of the network.
    """
    if foreign := next((path for path in changes if path.startswith("model.")), None):
        raise UsageError(f"{foreign} is the trained network's: it cannot be changed")
    source = Source.parse(RunFolder.weights_of(weights))
    metadata = source.metadata()
    if metadata.recipe is None:
        raise UsageError(f"{metadata.source!r} does not say how it was trained, so that it cannot be fine-tuned by --finetune")
    run = RunFolder(Path(weights))
    if run.exists():
        run.check_code(changes)
        own = run.recipe()
    else:
        own = build_recipe(metadata.recipe, where=f"the recipe in {printable(Path(metadata.source).name)}")
        if (code := code_of(own.to_dict())) and not code.keys() <= changes.keys():
            raise UsageError(
                f"{metadata.source!r} names code in {', '.join(code)}, and a file of weights is no reason to run it: name a run"
            )
    data = EvaluationRequest.of(weights, {path: value for path, value in changes.items() if path.startswith("data.")}).data
    model = replace(own.model, weights=str(weights), compress=AS_IT_IS)
    tuned = replace(own, seed=recipe.seed, model=model, data=data, optim=recipe.optim, schedule=recipe.schedule, training=recipe.training)
    return override(tuned, {path: value for path, value in changes.items() if not path.startswith("data.")})


def _in_steps(variant: Variant, steps: int) -> Variant:
    """Return a variant that comes to its share in several steps, each of which begins from the one before; all cut by the same factor."""
    way = variant.recipe.model.compression
    assert way is not None
    if steps == 1:
        return variant
    share = replace(way, amount=round(way.amount ** (1 / steps), 6))
    recipe = override(variant.recipe, {COMPRESS: share.text})
    before: Variant | None = None
    for step in range(1, steps + 1):
        label = f"{variant.label}, step {step} of {steps}" if step < steps else f"{variant.label}, {steps} steps"
        before = replace(variant, label=label, recipe=recipe, parent=before)
    assert before is not None
    return before
