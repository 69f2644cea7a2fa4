import pytest
import torch

from senet import create_model, record_excitations
from senet.analysis.excitation import excitation_curves
from senet.analysis.record import BlockExcitation, Excitations
from senet.errors import UsageError


def block(name: str, stage: int, channels: int, *, ends: bool, classes: int = 3) -> BlockExcitation:
    mean = torch.arange(classes * channels, dtype=torch.float64).reshape(classes, channels)
    return BlockExcitation(name, name, stage, ends, mean, mean / 10, torch.full((classes,), 5))


@pytest.fixture
def recorded():
    return Excitations(
        (0, 4, 9),
        (block("a", 1, 200, ends=False), block("b", 1, 200, ends=True), block("c", 2, 8, ends=False), block("d", 2, 8, ends=True)),
    )


def test_panels_are_the_ends_of_stages_and_all_of_the_last(recorded):
    assert [panel.name for panel in excitation_curves(recorded)] == ["b", "c", "d"]


def test_curves_hold_the_recorded_numbers(recorded):
    panel = excitation_curves(recorded, [9, 0], channels=5)[0]
    assert panel.channels == (0, 50, 100, 149, 199)
    assert list(panel.classes) == [9, 0]
    assert panel.classes[9].mean == (400.0, 450.0, 500.0, 549.0, 599.0)
    assert panel.classes[9].std == pytest.approx((40.0, 45.0, 50.0, 54.9, 59.9))
    assert panel.overall == (200.0, 250.0, 300.0, 349.0, 399.0)  # over all three classes, although two are drawn


def test_fifty_channels_by_default_and_all_of_a_narrow_block(recorded):
    panels = excitation_curves(recorded)
    assert len(set(panels[0].channels)) == 50
    assert (panels[0].channels[0], panels[0].channels[-1]) == (0, 199)
    assert panels[1].channels == tuple(range(8))


def test_classes_by_default_are_four_spread_evenly():
    many = Excitations(tuple(range(10)), (block("a", 1, 4, ends=True, classes=10),))
    assert list(excitation_curves(many)[0].classes) == [0, 3, 6, 9]


def test_se_resnet50_gives_the_panels_of_the_paper():
    model = create_model("se_resnet50", num_classes=2)
    recorded = record_excitations(model, [(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))])
    assert [panel.name for panel in excitation_curves(recorded)] == ["SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3"]


@pytest.mark.parametrize(
    ("arguments", "message"), [({"classes": [0, 5]}, "class 5 was not recorded; recorded: 0, 4, 9"), ({"channels": 0}, "channels must be")]
)
def test_wrong_input_is_one_line(recorded, arguments, message):
    with pytest.raises(UsageError, match=message):
        excitation_curves(recorded, **arguments)
