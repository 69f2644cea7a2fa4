"""What something else can stand for: called by one node of one container, and heard by nobody."""

import torch
from torch import Tensor, nn

from senet.surgery.graph import ModuleGraph
from senet.surgery.once import CalledOnce
from senet.surgery.trace import Container, trace


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.shared, self.unused = (nn.Conv2d(2, 2, 1) for _ in range(4))
        self.inner = Inner(self.shared)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.shared(self.twice(self.twice(self.once(x)))))


class Inner(nn.Module):
    def __init__(self, shared: nn.Module) -> None:
        super().__init__()
        self.shared = shared

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.shared(x))


def test_modules_that_one_node_of_one_container_calls() -> None:
    model = Outer()
    once = CalledOnce(ModuleGraph(Container(path, module, trace(module)[0])) for path, module in (("", model), ("inner", model.inner)))
    assert [name for name, module in model.named_children() if module in once] == ["once", "inner"]
    handle = model.once.register_forward_hook(print)
    assert model.once not in once
    handle.remove()
    assert model.once in once
