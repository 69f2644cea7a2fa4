"""What commands share in reading their words."""

import pytest

from senet.cli.arguments import model_changes, shape_of
from senet.errors import UsageError


@pytest.mark.parametrize("text", ["8,256,56,56", "8x256x56x56"])
def test_a_shape_is_four_numbers(text: str) -> None:
    assert shape_of(text, "--input-size") == (8, 256, 56, 56)


@pytest.mark.parametrize("text", ["8,256,56", "8,256,0,56", "a,b,c,d", ""])
def test_another_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--input-size must be four numbers N,C,H,W such as 1,3,224,224, got {text!r}"):
        shape_of(text, "--input-size")


def test_a_network_has_the_options_of_its_part_of_a_recipe() -> None:
    assert model_changes({"model.block": "se"}) == {"model.block": "se"}
    with pytest.raises(UsageError, match=r"'optim\.lr' is no option of a network; those are allowed: --block"):
        model_changes({"model.block": "se", "optim.lr": 1})
