"""What is timed is what it says: the same gradients by every backend, and memory as tensors have it."""

import torch
from torch import nn

from senet.benchmarking.memory import memory_of
from senet.benchmarking.steps import InferenceStep, TrainingStep, classify, hand_back


def test_a_training_step_leaves_fresh_gradients():
    model, images, labels = nn.Linear(6, 4), torch.randn(3, 6, requires_grad=True), torch.tensor([0, 1, 2])
    step = TrainingStep(model, (images,), classify(labels))
    step()
    first = [tensor.grad for tensor in (model.weight, images)]
    step()
    for tensor, before in zip((model.weight, images), first, strict=True):
        assert torch.equal(tensor.grad, before)
        assert tensor.grad is not before


def test_a_gradient_can_be_handed_back():
    model, images, gradient = nn.Linear(6, 4), torch.randn(3, 6, requires_grad=True), torch.randn(3, 4)
    TrainingStep(model, (images,), hand_back(gradient))()
    torch.testing.assert_close(images.grad, gradient @ model.weight)


def test_autocast_reaches_the_model_and_the_loss_is_in_full():
    seen = []
    model = nn.Linear(6, 4)
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    TrainingStep(model, (torch.randn(3, 6),), classify(torch.zeros(3, dtype=torch.long)), autocast=torch.bfloat16)()
    assert seen == [torch.bfloat16]
    assert model.weight.grad.dtype == torch.float32


def test_an_inference_step_keeps_no_gradient():
    flags = []
    model = nn.Linear(6, 4)
    model.register_forward_hook(lambda module, inputs, output: flags.append((output.requires_grad, output.is_inference())))
    InferenceStep(model, (torch.randn(3, 6),))()
    assert flags == [(False, True)]


class Squares(nn.Module):
    """Compute (weight * x)^2, which keeps x, the weight and the product."""

    def __init__(self, length: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(length))

    def forward(self, x):
        return (self.weight * x).square()


def test_memory_is_that_of_the_tensors():
    length = 250_000
    step = TrainingStep(Squares(length), (torch.ones(length),), hand_back(torch.ones(length)))
    step()
    found = memory_of(step)
    bytes_ = 4 * length
    assert found.saved == 2 * bytes_  # x and the product; the parameter is not counted
    assert 3 * bytes_ < found.peak <= 5 * bytes_  # two maps forward, up to three backward
