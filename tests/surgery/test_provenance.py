"""What reaches the output with no layer of weights between, and in what form."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from senet.surgery.probe import probe
from senet.surgery.provenance import GIVEN, ValueForm


class Last(nn.Module):
    """A convolution, and what is done with its result."""

    def __init__(self, way: Callable[["Last", Tensor, Tensor], object]) -> None:
        super().__init__()
        self.stem, self.conv, self.norm, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1)
        self.swish = nn.SiLU()
        self.way = way

    def forward(self, x: Tensor) -> object:
        stem = self.stem(x)
        return self.way(self, stem, self.conv(stem))


def written(out: Tensor, y: Tensor) -> Tensor:
    out[:, :4] = y
    return out


BARE, FEATURES, BOUNDED = {ValueForm.BARE}, {ValueForm.FEATURES}, {ValueForm.BOUNDED}
WAYS: dict[str, tuple[Callable[[Last, Tensor, Tensor], object], set[ValueForm]]] = {
    "itself": (lambda m, s, y: y, BARE),
    "shaped": (lambda m, s, y: y.permute(0, 2, 3, 1).reshape(len(y), -1, 2).contiguous(), BARE),
    "resized": (lambda m, s, y: F.interpolate(y, scale_factor=2), BARE),
    "pooled": (lambda m, s, y: F.adaptive_avg_pool2d(y, 1).flatten(1), BARE),
    "scaled": (lambda m, s, y: 2 * y + 1, BARE),
    "joined": (lambda m, s, y: torch.cat([y, y * 2], 1), BARE),
    "written": (lambda m, s, y: written(torch.zeros(2, 8, 8, 8, device=y.device), y), BARE),
    "in a dictionary": (lambda m, s, y: {"out": [y, None]}, BARE),
    "in place": (lambda m, s, y: y.add_(1).mul_(2), BARE),
    "cut to boxes": (lambda m, s, y: y.exp().clamp(max=4.0).clamp(0, 640), BARE),
    "normalised": (lambda m, s, y: m.norm(y), FEATURES),
    "by length": (lambda m, s, y: F.normalize(y), FEATURES),
    "rectified": (lambda m, s, y: y.relu(), FEATURES),
    "rectified in place": (lambda m, s, y: y.relu_(), FEATURES),
    "rectified by a clamp": (lambda m, s, y: y.clamp(min=0), FEATURES),
    "rectified to 6": (lambda m, s, y: F.hardtanh(y, 0.0, 6.0), FEATURES),
    "module": (lambda m, s, y: m.swish(y), FEATURES),
    "own activation": (lambda m, s, y: y * torch.sigmoid(y), FEATURES),
    "own hard activation": (lambda m, s, y: y * (y + 3).clamp(0, 6) / 6, FEATURES),
    "image": (lambda m, s, y: torch.tanh(y), BOUNDED),
    "normalised image": (lambda m, s, y: m.norm(y).tanh(), BOUNDED),
    "clamped image": (lambda m, s, y: y.clamp(0, 1), BOUNDED),
    "probabilities": (lambda m, s, y: F.interpolate(y, scale_factor=2).softmax(1), BOUNDED),
    "logs of them": (lambda m, s, y: F.log_softmax(y, 1), BOUNDED),
    "both": (lambda m, s, y: (y, y.sigmoid()), BARE | BOUNDED),
    "gate of another map": (lambda m, s, y: m.norm(s) * y.sigmoid(), BOUNDED),
    "a layer follows": (lambda m, s, y: m.after(y), set()),
    "a matrix follows": (lambda m, s, y: y.flatten(2).transpose(1, 2) @ m.after.weight.flatten(1), set()),
    "not used": (lambda m, s, y: s, set()),
}


@pytest.mark.parametrize(("way", "forms"), WAYS.values(), ids=WAYS)
def test_the_form_in_which_a_convolution_ends(way: Callable[[Last, Tensor, Tensor], object], forms: set[ValueForm]) -> None:
    model = Last(way)
    assert probe(model, torch.zeros(2, 3, 8, 8)).provenance.ending.get((model.conv, 0), set()) == forms


def test_what_modules_pass_on_and_which_are_given_the_image() -> None:
    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x)

    model = nn.Sequential(nn.Identity(), Unit(), nn.Conv2d(3, 4, 1), nn.ReLU())
    seen = probe(model, torch.zeros(1, 3, 8, 8)).provenance
    assert seen.passing == {model[0], model[1], model[3]}
    assert seen.given_image == {model, model[0], model[1], model[1].conv, model[2]}
    assert (model, GIVEN) not in seen.ending


def test_nothing_is_left_on_the_example() -> None:
    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if x.sum() > 0 else x

    for model, device in ((nn.Conv2d(3, 4, 1), "meta"), (Decides(), "cpu")):
        example = torch.ones(1, 3, 8, 8, device=device)
        probe(model, example)
        assert vars(example) == {}
