"""Arguments of calls: by name, without their tensors, filled with numbers."""

import pytest
import torch
from torch import Tensor, nn

from senet.surgery.arguments import Arguments, materialise, signature, tensors


class Takes(nn.Module):
    def forward(self, x: Tensor, scale: float = 2.0, *, mask: Tensor | None = None) -> Tensor:
        return x


def test_arguments_are_bound_by_name_with_defaults() -> None:
    x, mask = torch.zeros(1), torch.ones(1)
    call = Arguments((x,), {"mask": mask})
    assert call.bind(Takes()) == {"x": x, "scale": 2.0, "mask": mask}
    assert call.left_out(Takes()) == {"scale"}


def test_what_the_forward_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        Arguments((torch.zeros(1),), {"other": 1}).bind(Takes())


def test_a_rewritten_module_takes_what_its_original_takes() -> None:
    class Rewritten(nn.Module):
        _senet_original = Takes()

        def forward(self, *args: Tensor) -> Tensor:
            return args[0]

    assert list(signature(Rewritten()).parameters) == ["x", "scale", "mask"]


def test_tensors_are_found_in_nests() -> None:
    one, two = torch.zeros(1), torch.zeros(2)
    assert [x.numel() for x in tensors({"a": [one, 3], "b": (two, None)})] == [1, 2]


def test_shapes_become_numbers() -> None:
    torch.manual_seed(0)
    real = torch.ones(2)
    tree = materialise(
        [torch.empty(500, device="meta"), torch.empty(4, device="meta", dtype=torch.int64), real, "text"], torch.device("cpu")
    )
    assert abs(tree[0].std() - 1) < 0.2
    assert tree[1].tolist() == [0] * 4
    assert tree[2] is real
    assert tree[3] == "text"
