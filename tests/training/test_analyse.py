"""The analysis of trained weights: each figure is what its own function gives, for tasks of every kind."""

from pathlib import Path

import pytest

import senet
from made_analyses import written
from made_runs import tiny
from senet.analysis.advice import recommend
from senet.analysis.excitation import excitation_curves
from senet.analysis.frozen import frozen_gates
from senet.analysis.gate_statistics import record_gates
from senet.errors import UsageError
from senet.profiling.profiler import profile
from senet.training import analyse as module
from senet.training.analyse import analyse
from senet.training.evaluate import evaluate
from senet.training.measured import ValidationSet
from tasks.detection.made_rectangles import tiny_boxes
from tasks.segmentation.made_masks import tiny_masks
from training.test_measured import SMALL_DETECTOR

SMALL = {"model__name": "preresnet20", "model__stages": [3]}


def test_every_figure_is_that_of_its_function(tmp_path: Path) -> None:
    path, _ = written(tiny(**SMALL), tmp_path / "w.safetensors")
    steps: list[tuple[str, int, int]] = []
    found = analyse(path, limit=60, modes=("channel", "none"), watch=lambda *step: steps.append(step))
    images, model = ValidationSet.of(path, limit=60), senet.from_pretrained(path)
    assert found.statistics.to_dict() == record_gates(model, images.labelled()).to_dict()
    assert found.scores.value == images.measure(model).value
    assert (found.images.count, found.images.total, found.images.classes) == (60, len(images.source.val), images.source.classes)
    assert [effect.path for effect in found.effects] == ["layer3.0.se", "layer3.1.se", "layer3.2.se"]
    for effect in found.effects:
        with frozen_gates(model, {effect.path: None}):
            assert effect.losses["none"].points == found.scores.value - images.measure(model).value
        assert set(effect.losses) == {"channel", "none"} == set(found.modes)
    excitations = found.statistics.excitations
    assert excitations is not None
    assert found.panels == excitation_curves(excitations)
    counted = profile(model, found.costs.input_size, latency=False)
    assert found.costs.total.params == counted.params
    assert sum(cost.macs for cost in found.costs.blocks.values()) == counted.share.macs
    assert sum(cost.params for cost in found.costs.blocks.values()) == counted.share.params
    assert found.sheets == ()
    again = recommend(model, images.measure, found.statistics, found.effects)
    assert [advice.to_dict() for advice in found.advice] == [advice.to_dict() for advice in again] != []
    done = [step[1:] for step in steps if step[0] == "freezing gates"]
    assert done == [(count, 6) for count in range(7)]
    assert ("reading gates", 60, 60) in steps


def test_two_analyses_are_equal_and_leave_the_file_alone(tmp_path: Path) -> None:
    path, _ = written(tiny(**SMALL), tmp_path / "w.safetensors")
    before = path.read_bytes()
    one, other = (analyse(path, limit=40, modes=("mean",)).to_dict() for _ in range(2))
    assert one | {"environment": {}} == other | {"environment": {}}
    assert path.read_bytes() == before


def test_masks_have_heat_maps_of_images_far_apart(tmp_path: Path) -> None:
    recipe = tiny_masks()
    path, said = written(recipe, tmp_path / "w.safetensors")
    found = analyse(path, said, modes=("channel",))
    assert [sheet.image for sheet in found.sheets] == ["discs 0", "discs 4"]
    assert all(sheet.content[8:12] == b"WEBP" for sheet in found.sheets)
    assert found.sheets[0].content != found.sheets[1].content
    assert {block.kind for block in found.statistics.blocks} == {"channel", "position"}
    assert found.panels[0].weighted
    assert found.scores.value == evaluate(path, recipe.data, task="segmentation").metrics["dice"]
    assert all(loss.low is None for effect in found.effects for loss in effect.losses.values())
    assert set(found.costs.blocks) == {effect.path for effect in found.effects}


def test_a_detector_and_a_users_task(tmp_path: Path) -> None:
    detector = tiny_boxes(model__name="faster_rcnn", model__options=SMALL_DETECTOR, model__block="se", model__stages=[3])
    path, said = written(detector, tmp_path / "boxes.safetensors")
    found = analyse(path, said, modes=("channel",), limit=2)
    assert (found.metric.name, len(found.effects)) == ("ap", 3)
    ink = tiny(task=f"{Path(__file__).parents[1] / 'tasks/regression_task.py'}:ink", **SMALL)
    path, said = written(ink, tmp_path / "ink.safetensors")
    found = analyse(path, said, modes=("channel",), limit=20)
    assert (found.metric.name, found.scores.higher_is_better, found.images.classes) == ("mae", False, ())
    assert list(found.panels[0].classes) == [0]


def test_a_network_without_gates_is_told_before_images_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = written(tiny(model__name="preresnet20", model__block=None), tmp_path / "w.safetensors")
    monkeypatch.setattr(module.ValidationSet, "for_member", lambda *given, **named: pytest.fail("it opened the images"))
    with pytest.raises(UsageError, match="has no gates to analyse: its network, preresnet20, is plain"):
        analyse(path)


@pytest.mark.parametrize(
    ("modes", "message"), [(("chanel",), "chanel"), ((), "name a mode in which gates are frozen: channel, mean, none")]
)
def test_modes_are_refused_before_anything_is_read(modes: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        analyse("there is no such file", modes=modes)


FOREIGN = """
from torch import nn
from torchvision.ops import SqueezeExcitation


def small(num_classes=10, in_channels=1):
    first = nn.Sequential(nn.Conv2d(in_channels, 12, 3, padding=1), nn.ReLU(), SqueezeExcitation(12, 3))
    return nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, num_classes))
"""


def test_blocks_of_another_library_are_analysed(tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(FOREIGN)
    path, _ = written(tiny(model__name=f"{file}:small", model__block=None), tmp_path / "w.safetensors")
    found = analyse(path, limit=20)
    assert [(block.path, block.hidden) for block in found.statistics.blocks] == [("0.2", 3)]
    assert found.costs.blocks["0.2"].params == 12 * 3 * 2 + 12 + 3
    assert found.modes == ("channel", "mean", "none")
