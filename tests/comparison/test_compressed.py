"""Comparisons whose variants are compressed: what each begins from, in which order they train, and what is used again."""

import shutil
from pathlib import Path

import pytest
import torch

import senet.comparison.measure as measure
from made_pruning import prune_quickly
from made_runs import tiny
from senet.comparison import compare
from senet.comparison.compress import compare_compressed, fine_tuning_of
from senet.comparison.missing import orders_of
from senet.comparison.parents import fine_tuning, with_ancestors, with_parents
from senet.comparison.variants import Variant, expand, joined_with
from senet.errors import UsageError
from senet.models.create import from_pretrained
from senet.recipe import override
from senet.recipe.compress import COMPRESS, parse_compress
from senet.results.origin import read_origin
from senet.results.run_folder import RunFolder
from senet.training import compressed
from senet.training.loop import train
from senet.training.progress import Progress
from senet.weights.loaded import fingerprint_of_file
from senet.weights.store import find_config


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(measure, "ROUNDS", 3)
    prune_quickly(monkeypatch, latency=0.75)


def planned(vary: dict, **changes) -> list[Variant]:
    return with_parents(expand(tiny(**changes), vary), joined_with(COMPRESS, vary))


def test_gates_of_a_plain_network_are_no_two_variants() -> None:
    with pytest.raises(UsageError, match=r"one variant only; the network is plain, with no gates .*: add --block se, or rank"):
        expand(tiny(model__block=None), {"compress": ["none", "gate0.7", "fold"]})


def test_a_compressed_variant_begins_from_the_one_without_and_trains_an_eighth() -> None:
    whole, folded, pruned = planned({"compress": ["none", "random0.5", "l1_0.7@latency"]}, training__epochs=17, schedule__warmup_steps=16)
    assert [one.label for one in (whole, folded, pruned)] == ["uncompressed", "random 0.5 of MACs", "l1 0.7 of latency"]
    assert whole.parent is None
    assert folded.parent == pruned.parent == whole
    assert whole.recipe == tiny(training__epochs=17, schedule__warmup_steps=16)
    assert folded.recipe == tiny(model__compress="random0.5", training__epochs=2, optim__lr=0.01, schedule__warmup_steps=1)


def test_each_begins_from_its_own_block_and_plain_networks_have_no_gates() -> None:
    found = planned({"block": ["none", "se"], "compress": ["none", "gate0.7", "l1_0.7"]})
    assert {one.label: one.parent and one.parent.label for one in found} == {
        "plain, uncompressed": None,
        "plain, l1 0.7 of MACs": "plain, uncompressed",
        "SE, uncompressed": None,
        "SE, gate 0.7 of MACs": "SE, uncompressed",
        "SE, l1 0.7 of MACs": "SE, uncompressed",
    }


def test_what_is_set_together_with_compression_stays() -> None:
    whole, pruned = planned({"compress+epochs": [["none", 16], ["gate0.7", 16]]})
    assert (whole.recipe.training.epochs, pruned.recipe.training.epochs, pruned.recipe.optim.lr) == (16, 16, 0.01)
    whole, _, pruned, _ = planned({"compress": ["none", "gate0.7"], "lr": [0.2, 0.1]})
    assert [one.recipe.optim.lr for one in (whole, pruned)] == [0.2, 0.02]


def test_a_schedule_shrinks_in_proportion() -> None:
    recipe = tiny(training__epochs=160, schedule__name="step", schedule__milestones=[80, 120], training__unfreeze__host=3)
    tuned = override(recipe, fine_tuning(recipe))
    assert (tuned.training.epochs, tuned.schedule.milestones, tuned.training.unfreeze.host) == (20, (10, 15), 0)
    assert override(recipe, fine_tuning(recipe, 40)).schedule.milestones == (20, 30)
    assert fine_tuning(tiny(training__epochs=3))["training.epochs"] == 1


def test_without_anything_to_begin_from_it_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is none to begin from: .* --vary compress=none,random0.5, or name trained weights"):
        planned({"compress": ["random0.5", "l1_0.7"]})
    given = planned({"compress": ["random0.5", "l1_0.7"]}, model__weights="run")
    assert [(one.parent, one.recipe.training.epochs) for one in given] == [(None, 3), (None, 3)]


def test_compressed_arms_train_last_are_used_again_and_need_what_they_began_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vary = {"compress": ["gate0.7", "none"]}
    variants = planned(vary)
    first, then = orders_of(variants, [0, 1], tmp_path, Progress(enabled=False))
    assert [order.label for order in (*first, *then)] == [
        *("uncompressed, seed 1/2", "uncompressed, seed 2/2"),
        *("gate 0.7 of MACs, seed 1/2", "gate 0.7 of MACs, seed 2/2"),
    ]
    assert [order.recipe.model.weights for order in then] == [str(order.run.path) for order in first]

    result = compare(tiny(training__epochs=1), vary=vary, seeds=1, out=tmp_path, progress=False)
    pruned, whole = (RunFolder(Path(variant.runs[0].folder)) for variant in result.variants)
    assert result.variants[0].cost.macs < 0.7 * result.variants[1].cost.macs
    origin = read_origin(pruned)
    assert origin is not None
    assert origin["weights"]["fingerprint"] == fingerprint_of_file(whole.weights)
    assert result.page is not None
    assert "compressed by training images" in result.page.read_text()
    stamp = pruned.weights.stat().st_mtime_ns
    again = compare(tiny(training__epochs=1), vary=vary, seeds=1, out=tmp_path, progress=False, report=False)
    assert again.variants[0].runs == result.variants[0].runs
    assert pruned.weights.stat().st_mtime_ns == stamp
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "compare-tiny").rename(tmp_path / "elsewhere" / "compare-tiny")
    monkeypatch.chdir(tmp_path)
    moved = compare(tiny(training__epochs=1), vary=vary, seeds=1, out="elsewhere", progress=False, report=False)
    pruned, whole = (RunFolder(Path(variant.runs[0].folder)) for variant in moved.variants)
    assert (pruned.weights.stat().st_mtime_ns, str(pruned.path)[:22]) == (stamp, "elsewhere/compare-tiny")
    shutil.rmtree(whole.path)
    with pytest.raises(UsageError, match=r"it began from .*, which is no finished run; remove that folder"):
        compare(tiny(training__epochs=1), vary=vary, seeds=1, out="elsewhere", progress=False)


def test_a_trained_run_is_compressed_in_steps_and_compared_with_itself_fine_tuned(tmp_path: Path) -> None:
    train(tiny(training__epochs=1, data__pad=0), folder=tmp_path / "run", progress=False)
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    recipe = fine_tuning_of(tmp_path / "run", tiny(training__epochs=1, optim__lr=0.02, data__pad=2), {"training.label_smoothing": 0.1})
    assert (recipe.optim.lr, recipe.data.pad, recipe.training.label_smoothing) == (0.02, 0, 0.1)
    way = parse_compress("l1_0.5")
    assert way is not None
    result = compare_compressed(
        tmp_path / "run", [way], recipe, steps=2, seeds=1, out=tmp_path, progress=False, command="senet compress run"
    )
    assert [variant.label for variant in result.variants] == ["uncompressed", "l1 0.5 of MACs, 2 steps"]
    whole, pruned = result.variants
    assert pruned.cost.macs <= 0.5 * whole.cost.macs
    folder = RunFolder(Path(pruned.runs[0].folder))
    assert len(find_config(from_pretrained(folder.weights)).options["reduced"]) == 2
    assert [RunFolder(Path(run.folder)).recipe().model.weights for run in whole.runs] == [str(tmp_path / "run")]
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert result.command == "senet compress run"


def test_ancestors_stand_behind_what_begins_from_them() -> None:
    whole, pruned = planned({"compress": ["none", "l1_0.7"]})
    assert with_ancestors([pruned]) == [pruned, whole]
    assert with_ancestors([whole, pruned]) == [whole, pruned]
    assert pruned.generation == 1


def test_the_network_of_a_run_cannot_be_another(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.name is the trained network's"):
        fine_tuning_of(tmp_path, tiny(), {"model.name": "resnet50"})


def test_what_prunes_is_asked_for_before_anything_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"variant 'l1 0\.7 of MACs': .* pip install 'senet\[compress\]'"):
        compare(tiny(), vary={"compress": ["none", "l1_0.7"]}, out=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []
    compressed.check_pruning(tiny(model__compress="fold"))


@pytest.mark.slow
def test_jobs_side_by_side_wait_for_what_they_begin_from(tmp_path: Path) -> None:
    vary = {"compress": ["none", "l1_0.7", "random0.7"]}
    result = compare(tiny(training__epochs=1), vary=vary, seeds=2, jobs=2, out=tmp_path, progress=False)
    assert [len(variant.runs) for variant in result.variants] == [2, 2, 2]
