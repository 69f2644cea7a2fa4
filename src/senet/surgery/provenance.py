"""What reaches a network's output with no layer of weights between, and in what form: features, or an answer.

Every tensor of a run carries a trail: whether it is what a layer of weights gave (bare), was normalised or rectified since (features), or
was squashed to probabilities or an image (bounded), and the same for all modules whose results are in it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from senet.surgery import roles
from senet.surgery.arguments import tensors


class ValueForm(Enum):
    """Form of a value, by what happened to it since the last layer of weights."""

    BARE = "nothing"
    FEATURES = "normalised, or rectified"
    BOUNDED = "squashed"


Origin = tuple[nn.Module, int]
"""A module, and which of its results; GIVEN stands for what it was given."""

GIVEN = -1
_MARK = "_senet_trail"

WEIGH = {
    *(f"conv{transposed}{dimensions}d" for transposed in ("", "_transpose") for dimensions in (1, 2, 3)),
    *("linear", "bilinear", "embedding", "lstm", "gru", "rnn_tanh", "rnn_relu", "addmm", "multi_head_attention_forward"),
}
CONTRACTIONS = {"matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "einsum", "tensordot", "scaled_dot_product_attention"}
"""Functions that are layers of weights where one factor comes from no input."""

NORMALISE = {"batch_norm", "group_norm", "layer_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize"}
RECTIFY = {"glu", "rrelu", "threshold", "softshrink", "hardshrink", "tanhshrink", "clamp_min", "maximum"}
SQUASH = roles.BOUND | {"softmin", "log_softmax", "logsigmoid", "softsign", "argmax"}
FORMS = dict.fromkeys(NORMALISE | RECTIFY | {name.removesuffix("_") for name in roles.ACTIVATE}, ValueForm.FEATURES) | dict.fromkeys(
    {name.removesuffix("_") for name in SQUASH}, ValueForm.BOUNDED
)
"""Function -> the form of what it gives."""

CLAMP = {"clamp", "clip", "hardtanh"}
GATING = roles.MULTIPLY | {"__mul__", "__rmul__", "__imul__"}
WRITE = {"__setitem__", "copy", "index_copy", "masked_scatter", "scatter", "index_put"}


@dataclass(frozen=True)
class Trail:
    """Provenance of a tensor.

    Args:
        form: its own form.
        origins: what is in it with no layer of weights since, and the form of that.
    """

    form: ValueForm
    origins: Mapping[Origin, ValueForm] = field(default_factory=dict)

    def turned(self, form: ValueForm) -> "Trail":
        """Return the trail behind an operation that gives everything one form."""
        return Trail(form, dict.fromkeys(self.origins, form))

    def joined_by(self, origin: Origin) -> "Trail":
        """Return the trail of a tensor that is a module's result too."""
        return Trail(self.form, {**self.origins, origin: self.form})


class Provenance(TorchFunctionMode):
    """Record of what reaches the output of a network with no layer of weights between, while it is entered.

    Attributes:
        passing: the modules that pass what they are given on to their results, with no layer of weights on some way.
        given_image: the modules that are given the network's own input, with no layer of weights between.
        ending: the origins that reach the network's output, and the forms in which they do.
    """

    def __init__(self, root: nn.Module) -> None:
        super().__init__()
        self.root = root
        self.passing: set[nn.Module] = set()
        self.given_image: set[nn.Module] = set()
        self.ending: dict[Origin, set[ValueForm]] = {}

    def enter(self, module: nn.Module, inputs: Any) -> None:
        """Note what a module is given."""
        for tensor in tensors(inputs):
            trail = _trail(tensor) or (Trail(ValueForm.BARE) if module is self.root else None)
            if trail is not None:
                _mark(tensor, trail.joined_by((module, GIVEN)))
                if (self.root, GIVEN) in trail.origins or module is self.root:
                    self.given_image.add(module)

    def leave(self, module: nn.Module, output: Any) -> None:
        """Note what a module returns."""
        for index, value in enumerate(pytree.tree_leaves(output)):
            trail = _trail(value)
            if trail is None:
                continue
            if (module, GIVEN) in trail.origins:
                self.passing.add(module)
            trail = (trail.turned(ValueForm.FEATURES) if roles.is_norm(module) else trail).joined_by((module, index))
            _mark(value, trail)
            if module is self.root:
                for origin, form in trail.origins.items():
                    self.ending.setdefault(origin, set()).add(form)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and follow the trails."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        given = list(_tensors_in((*args, *kwargs.values())))
        trails = [trail for tensor in given if (trail := _trail(tensor)) is not None]
        if trails:
            name = getattr(func, "__name__", "")
            plain = name if name.endswith("__") else name.removesuffix("_")
            behind = _behind(plain, trails, len(given), kwargs, args)
            for tensor in _tensors_in((args[0] if plain in WRITE else result,)):
                _mark(tensor, behind)
        return result


def _behind(name: str, trails: list[Trail], tensors_given: int, kwargs: Mapping[str, Any], args: Any) -> Trail:
    """Return the trail of what an operation gives."""
    if name in WEIGH or (name in CONTRACTIONS and len(trails) < tensors_given):
        return Trail(ValueForm.BARE)
    merged = _merged(trails, gate=name in GATING | CONTRACTIONS)
    form = _bounded(kwargs, args) if name in CLAMP else FORMS.get(name)
    return merged if form is None else merged.turned(form)


def _bounded(kwargs: Mapping[str, Any], args: Any) -> ValueForm | None:
    """Return the form behind a clamp: one at 0 alone, or at 0 and 6, rectifies; one to 1 at most squashes; others say nothing."""
    low, high = (
        kwargs.get(f"{end}_val", kwargs.get(end, args[index] if len(args) > index else None)) for index, end in ((1, "min"), (2, "max"))
    )
    if low == 0 and (high is None or high == 6):
        return ValueForm.FEATURES
    return ValueForm.BOUNDED if isinstance(low, int | float) and isinstance(high, int | float) and max(abs(low), abs(high)) <= 1 else None


def _merged(trails: Iterable[Trail], *, gate: bool) -> Trail:
    """Return the trail of what is made of several values; a product of a value with a function of its own is an activation."""
    trails = list(trails)
    origins: dict[Origin, ValueForm] = {}
    for trail in trails:
        for origin, form in trail.origins.items():
            known = origins.setdefault(origin, form)
            if known is not form:
                origins[origin] = ValueForm.FEATURES if gate or ValueForm.FEATURES in (known, form) else ValueForm.BOUNDED
    forms = {trail.form for trail in trails}
    if gate and len(forms) > 1 and len(trails) > 1:
        shared = set.intersection(*(set(trail.origins) for trail in trails))
        return Trail(ValueForm.FEATURES if shared else _gated(forms), origins)
    return Trail(ValueForm.FEATURES if ValueForm.FEATURES in forms else forms.pop() if len(forms) == 1 else ValueForm.BOUNDED, origins)


def _gated(forms: set[ValueForm]) -> ValueForm:
    """Return the form of a product: a gate leaves what it multiplies as it is."""
    return ValueForm.FEATURES if ValueForm.FEATURES in forms else ValueForm.BARE


def makers(value: Any) -> list[nn.Module]:
    """Return the modules whose result is in a tensor with no layer of weights since, those that returned last first."""
    trail = _trail(value)
    return [] if trail is None else [module for module, index in reversed(list(trail.origins)) if index != GIVEN]


def keep_trail(source: Tensor, copy: Tensor) -> Tensor:
    """Give a copy the provenance of what it was made from."""
    if (trail := _trail(source)) is not None:
        _mark(copy, trail)
    return copy


def _tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """Yield the tensors among values, and in lists and tuples among them: what functions of torch take and give."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors_in(value)


def _trail(value: Any) -> Trail | None:
    return getattr(value, _MARK, None)


def _mark(tensor: Tensor, trail: Trail) -> None:
    setattr(tensor, _MARK, trail)
