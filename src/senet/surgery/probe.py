"""Run a network without computing anything, to see how its modules are called and what shapes flow."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.utils import _pytree as pytree

from senet.errors import UsageError, reason_of
from senet.surgery.arguments import Arguments, materialise, tensors
from senet.surgery.enlarging import Enlarging
from senet.surgery.graph import ModuleGraph
from senet.surgery.hooks import hooked
from senet.surgery.images import images
from senet.surgery.layout import FeatureAxes, feature_axes, shape_only
from senet.surgery.preserve import evaluating, unchanged
from senet.surgery.provenance import Provenance
from senet.surgery.roles import CONVS
from senet.surgery.trace import Container


@dataclass
class Probe:
    """Findings of a run of a network.

    Attributes:
        calls: module -> arguments of its first call, in the order of the calls.
        counts: module -> how often it was called.
        outputs: module -> what that call returned; tensors stand for their shape, type and feature axes only.
        image: sides of the map that the first convolution got, in pixels.
        batch: how many maps that were.
        enlarging: what resampled and joined maps.
        provenance: what reaches the output with no layer of weights between.
        traced: graph of a container -> the tensors that its nodes give, as far as they were asked for.
        rerun: runs the network on an input of another size, or returns None.
    """

    provenance: Provenance
    calls: dict[nn.Module, Arguments] = field(default_factory=dict)
    counts: Counter[nn.Module] = field(default_factory=Counter)
    outputs: dict[nn.Module, Any] = field(default_factory=dict)
    image: tuple[int, ...] = ()
    batch: int = 0
    enlarging: Enlarging = field(default_factory=Enlarging)
    traced: dict[fx.Graph, dict[fx.Node, Tensor]] = field(default_factory=dict)
    rerun: "Callable[[], Probe | None] | None" = None

    @cached_property
    def upsampling(self) -> set[nn.Module]:
        """Return the modules that enlarge maps: something in them resamples, and their output is larger than their first input."""
        pairs = ((module, tensors(self.calls[module].args), output) for module, output in self.outputs.items())
        maps = ((module, inputs[0].shape, output.shape) for module, inputs, output in pairs if inputs and isinstance(output, Tensor))
        return {module for module, before, after in maps if self.enlarging.enlarges(module, before, after)}

    def shape(self, graph: ModuleGraph, node: fx.Node) -> tuple[int, ...]:
        """Return the shape of a node at its container's first call, or () if it is not a tensor."""
        return () if (value := self.value(graph, node)) is None else tuple(value.shape)

    def value(self, graph: ModuleGraph, node: fx.Node) -> Tensor | None:
        """Return what a node gives at its container's first call, without numbers; None if it is not a tensor."""
        module = graph.module(node)
        if module is None or module not in self.outputs or self.counts[module] != self.counts[graph.container.module]:
            return self._inside(graph.container).get(node)
        return value if isinstance(value := self.outputs[module], Tensor) else None

    def _inside(self, container: Container) -> dict[fx.Node, Tensor]:
        """Return what all nodes of a container give."""
        if container.graph not in self.traced:
            recorder = _Recorder(container)
            values = self.calls[container.module].bind(container.module).values()  # as the placeholders: one a parameter, in their order
            state = {f"inner.{name}": tensor for name, tensor in _meta_state(container.module).items()}
            module = container.module
            with torch.no_grad(), unchanged(*module.modules()), evaluating(module), suppress(Exception), self.provenance, FeatureAxes():
                functional_call(recorder, state, tuple(values))  # what a failure leaves unknown is no map to recalibrate
            self.traced[container.graph] = recorder.values
        return self.traced[container.graph]

    @cached_property
    def other(self) -> "Probe | None":
        """A run on an input of another size, None if the network takes none."""
        return None if self.rerun is None else self.rerun()

    def feature_axis(self, value: Callable[["Probe"], Tensor | None]) -> int | None:
        """Return the axis that holds the features of a map: it is followed from the layer that made them.

        Where what made the map is not known, it is the one axis that keeps its size when the network runs on an input of another size.

        Args:
            value: what to look up in a run.

        Returns:
            The axis, counted from 0; None if it cannot be told, or if several share the features.
        """
        tensor = value(self)
        axes = feature_axes(tensor)
        if tensor is None or axes is not None:
            return axes[0] if axes is not None and len(axes) == 1 and axes[0] > 0 else None
        again = None
        if self.other is not None:
            with suppress(KeyError):  # it may go another way there
                again = value(self.other)
        if again is None or again.ndim != tensor.ndim:
            return None
        constant = [axis for axis in range(1, tensor.ndim) if tensor.shape[axis] == again.shape[axis]]
        return constant[0] if len(constant) == 1 else None


class _Recorder(nn.Module):
    """Run of a container's graph that notes what every node gives."""

    def __init__(self, container: Container) -> None:
        super().__init__()
        self.inner = container.module
        self.graph = container.graph
        self.values: dict[fx.Node, Tensor] = {}

    def forward(self, *args: Any) -> Any:
        """Run the graph on the values of its placeholders."""
        values = self.values

        class NotingInterpreter(fx.Interpreter):
            """Interpreter that notes every tensor."""

            def run_node(self, n: fx.Node) -> Any:
                value = super().run_node(n)
                if isinstance(value, Tensor):
                    values[n] = value
                return value

        return NotingInterpreter(self.inner, graph=self.graph, garbage_collect_values=False).run(*args, enable_io_processing=False)


def probe(model: nn.Module, example: Any = None, *, small: bool = False) -> Probe:
    """Run a network in evaluation mode and note how its modules are called.

    Tensors carry shapes only, so that a run costs milliseconds at any size; where a forward needs real numbers it gets them. Nothing of the
    model changes.

    Args:
        model: the network.
        example: a tensor or a tuple of arguments; None = an image, as the network declares it or as its first convolution wants it.
        small: prefer small images, for runs that follow with real numbers.

    Raises:
        UsageError: if the network cannot be run on it.
    """
    if example is not None:
        args = example if isinstance(example, tuple) else (example,)
        attempts = [(_run_meta, args), (_run_real, args)]
    else:
        likely, real, others = images(model, small=small), images(model, small=True), images(model, small=small, others=True)
        attempts = [(_run_meta, args) for args in likely] + [(_run_real, args) for args in real] + [(_run_meta, args) for args in others]
    if not attempts:
        raise UsageError(f"{type(model).__name__} has no convolution that tells what images it takes: give example_input")
    reasons = []
    for run, args in attempts:
        try:
            seen = run(model, args)
            seen.rerun = partial(_resized_run, model, args)
            return seen
        except Exception as error:  # a forward may raise anything
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors(args))
            reasons.append(f"{shapes} ({type(error).__name__}: {reason_of(error, 200)})")
    fix = "check example_input" if example is not None else "give example_input"
    among = f", nor on {len(reasons) - 1} others" if example is None else ""
    raise UsageError(f"cannot run {type(model).__name__} on {reasons[0]}{among}: {fix}")


def _resized_run(model: nn.Module, args: tuple[Any, ...]) -> Probe | None:
    """Run a network on maps of other sides; None if it takes none."""

    def resized(factor: float, tensor: Tensor) -> Tensor:
        sides = [max(1, int(factor * side)) for side in tensor.shape[2:]]
        return tensor.new_empty((*tensor.shape[:2], *sides), device="meta")

    for factor in (2, 0.5):
        with suppress(Exception):
            return _run_meta(model, pytree.tree_map_only(Tensor, partial(resized, factor), args))
    return None


def _run_meta(model: nn.Module, args: tuple[Any, ...]) -> Probe:
    seen = Probe(Provenance(model))
    with torch.no_grad(), unchanged(*model.modules()), evaluating(model), _recording(model, seen):
        functional_call(model, _meta_state(model), pytree.tree_map_only(Tensor, lambda t: t.detach().to("meta"), args))
    return seen


def _run_real(model: nn.Module, args: tuple[Any, ...]) -> Probe:
    seen = Probe(Provenance(model))
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    cuda = [device] if device.type == "cuda" else []
    with torch.no_grad(), torch.random.fork_rng(cuda), unchanged(*model.modules()), evaluating(model), _recording(model, seen):
        model(*pytree.tree_map_only(Tensor, Tensor.detach, materialise(args, device)))
    return seen


def _meta_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().to("meta") for name, tensor in (*module.named_parameters(), *module.named_buffers())}


@contextmanager
def _recording(model: nn.Module, seen: Probe) -> Iterator[None]:
    """Note every call of the network's modules, and follow the features of the maps."""

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        seen.enlarging.running.append(module)
        seen.counts[module] += 1
        call = Arguments(shape_only(args), shape_only(dict(kwargs)))
        seen.calls[module] = seen.calls[module].beside(call, module) if module in seen.calls else call
        if not seen.image and isinstance(module, CONVS) and tensors(args):
            seen.batch, *image = tensors(args)[0].shape[:1] + tensors(args)[0].shape[2:]
            seen.image = tuple(image)
        seen.provenance.enter(module, (args, kwargs))

    def after(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        seen.outputs.setdefault(module, shape_only(output))
        seen.enlarging.running.pop()
        seen.provenance.leave(module, output)

    with hooked(model.modules(), after, before), seen.enlarging, seen.provenance, FeatureAxes():
        yield
