"""What is timed is what it says: fresh gradients, the optimiser's step, autocast, the backend of the tails."""

import torch
from torch import nn

from senet.measuring.steps import InferenceStep, TrainingStep, cross_entropy_of
from senet.ops.backend import choose


def test_a_training_step_leaves_fresh_gradients():
    model, images, labels = nn.Linear(6, 4), torch.randn(3, 6, requires_grad=True), torch.tensor([0, 1, 2])
    step = TrainingStep(model, (images,), cross_entropy_of(labels))
    step()
    first = [tensor.grad for tensor in (model.weight, images)]
    step()
    for tensor, before in zip((model.weight, images), first, strict=True):
        assert torch.equal(tensor.grad, before)
        assert tensor.grad is not before


def test_a_backward_pass_can_begin_at_a_given_gradient():
    model, images, gradient = nn.Linear(6, 4), torch.randn(3, 6, requires_grad=True), torch.randn(3, 4)
    TrainingStep(model, (images,), lambda output: output, gradient)()
    torch.testing.assert_close(images.grad, gradient @ model.weight)


def test_autocast_reaches_the_model_and_the_loss_is_in_full():
    seen = []
    model = nn.Linear(6, 4)
    model.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    TrainingStep(model, (torch.randn(3, 6),), cross_entropy_of(torch.zeros(3, dtype=torch.long)), autocast=torch.bfloat16)()
    assert seen == [torch.bfloat16]
    assert model.weight.grad.dtype == torch.float32


def test_a_network_may_be_called_with_lists_and_mappings_of_tensors():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(6, 4)

        def forward(self, images, targets):
            return self.head(images[0] + targets[0]["shift"]).sum()

    model, image, shift = Detector(), torch.randn(3, 6), torch.randn(3, 6, requires_grad=True)
    step = TrainingStep(model, ([image], [{"shift": shift}]), lambda loss: loss)
    step()
    first = shift.grad
    step()
    assert torch.equal(shift.grad, first)
    assert torch.equal(first, model.head.weight.sum(0).expand(3, 6))


def test_an_inference_step_keeps_no_gradient():
    flags = []
    model = nn.Linear(6, 4)
    model.register_forward_hook(lambda module, inputs, output: flags.append((output.requires_grad, output.is_inference())))
    InferenceStep(model, (torch.randn(3, 6),))()
    assert flags == [(False, True)]


def test_the_optimiser_takes_its_step_after_the_backward_pass():
    model, images, labels = nn.Linear(6, 4), torch.randn(3, 6), torch.tensor([0, 1, 2])
    before = model.weight.detach().clone()
    TrainingStep(model, (images,), cross_entropy_of(labels))()
    assert torch.equal(model.weight, before)
    TrainingStep(model, (images,), cross_entropy_of(labels), optimizer=torch.optim.SGD(model.parameters(), 0.5))()
    torch.testing.assert_close(model.weight, before - 0.5 * model.weight.grad)


def test_the_tails_run_by_the_backend_that_is_named():
    model, seen = nn.Linear(6, 4), []
    model.register_forward_hook(lambda module, inputs, output: seen.append(choose(inputs[0]).name))
    TrainingStep(model, (torch.randn(3, 6),), torch.sum, tails="reference")()
    InferenceStep(model, (torch.randn(3, 6),), tails="compiled")()
    assert seen == ["reference", "compiled"]
