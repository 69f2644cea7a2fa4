"""What the class of a block has to say, and what registration does with one that does not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import senet
from blocks.eca import ECA
from senet.blocks.kinds import FIELDS, block_types, is_block, register_block
from senet.errors import UsageError
from senet.spec import KINDS, PLACEMENTS, block_class, options_of

pytestmark = pytest.mark.usefixtures("own_kinds")


def without(name: str) -> type[nn.Module]:
    """Return the class ECA, but for one of its attributes."""
    rest = {key: value for key, value in vars(ECA).items() if key not in (name, "__dict__", "__weakref__", "__classcell__")}

    def init(self: Any, channels: int, *, kernel: int = 3) -> None:
        nn.Module.__init__(self)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    return type("Incomplete", (nn.Module,), rest | {"__init__": init})


def changed(**fields: Any) -> type[nn.Module]:
    """Return the class ECA with other attributes."""
    return type("Changed", (ECA,), fields)


@pytest.mark.parametrize("kind", KINDS)
def test_the_kinds_of_the_package_say_everything(kind: str) -> None:
    cls = block_class(kind)
    register_block(kind, cls)
    block = senet.build_block(senet.BlockSpec(kind), 16)
    assert is_block(block)
    for name in FIELDS:
        getattr(block, name)
    for option, attribute in block.stateless_options.items():  # pyright: ignore[reportGeneralTypeIssues, reportCallIssue, reportAttributeAccessIssue]
        assert getattr(block, attribute) == options_of(kind)[option].default


@pytest.mark.parametrize("name", FIELDS)
def test_a_forgotten_field_is_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"Incomplete does not say '{name}': ") as caught:
        register_block("eca", without(name))
    assert FIELDS[name] in str(caught.value)
    assert "eca" not in KINDS


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"title": None}, "'title' of Changed is None"),
        ({"placements": ("standard", "middle")}, "'placements' of Changed are .*middle.*allowed: standard, pre, post, identity, inner"),
        ({"placements": ()}, "'placements' of Changed are"),
        ({"placements": "standard"}, "'placements' of Changed is 'standard'"),
        ({"sees_shortcut": 1}, "'sees_shortcut' of Changed is 1"),
        ({"squeezed_maps": "one"}, "'squeezed_maps' of Changed is 'one'"),
        ({"scaled_maps": None}, "'scaled_maps' of Changed is None"),
        ({"stateless_options": ("kernel",)}, "'stateless_options' of Changed is \\('kernel',\\)"),
        ({"sees_shortcut": True, "placements": PLACEMENTS}, "sees the shortcut, so that 'standard' is its only placement"),
        ({"gate": None}, "has channel gates, but no method 'gate'"),
        ({"gate": None, "has_channel_gates": False, "has_spatial_gates": True}, "has spatial gates, but no method 'gate'"),
        ({"start_as_identity": 2.0}, "'start_as_identity' of Changed must be a method"),
        ({"tail_gates": None}, "'tail_gates' of Changed must be a method"),
        ({"stateless_options": {"gate": "gate_name"}}, "'stateless_options' of Changed names 'gate', which is none of its options"),
    ],
)
def test_an_impossible_field_is_named(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        register_block("eca", changed(**fields))
    assert "eca" not in KINDS


def first_is_width(self: Any, width: int) -> None: ...
def no_default(self: Any, channels: int, kernel: int) -> None: ...
def named_kind(self: Any, channels: int, kind: int = 3) -> None: ...
def anything(self: Any, channels: int, **options: Any) -> None: ...


@pytest.mark.parametrize(
    ("init", "words"),
    [
        (first_is_width, "must take 'channels' first"),
        (no_default, "the option 'kernel' of Changed has no default"),
        (named_kind, "cannot have an option 'kind'"),
        (anything, r"must name its options, not take \*\*options"),
    ],
)
def test_an_impossible_constructor_is_named(init: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        register_block("eca", changed(__init__=init))


@pytest.mark.parametrize("kind", ["", "ECA", "3d", "eca-net", "auto", "none", None])
def test_names_of_kinds(kind: Any) -> None:
    with pytest.raises(UsageError, match="a kind of block is named in lower-case letters"):
        register_block(kind, ECA)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(UsageError, match="the kind 'se' is taken by ChannelSE"):
        register_block("se", ECA)
    register_block("eca", ECA)
    register_block("eca", ECA)
    with pytest.raises(UsageError, match="the kind 'eca' is taken by ECA"):
        register_block("eca", changed())
    with pytest.raises(UsageError, match=r"a sub-class of torch.nn.Module, got <built-in method relu"):
        register_block("relu", torch.relu)  # pyright: ignore[reportArgumentType]
    assert ECA in block_types()


def test_a_class_that_is_defined_again_takes_the_place_of_the_first() -> None:
    first, second = changed(), changed(title="again")
    register_block("eca", first)
    model = senet.create_model("eca_cifar_resnet20")
    register_block("eca", second)
    assert senet.BlockSpec("eca", kernel=5).kernel == 5
    blocks = [module for module in model.modules() if is_block(module)]
    assert {type(block) for block in blocks} == {first}
    again = senet.create_model("eca_cifar_resnet20")
    assert {type(module) for module in again.modules() if is_block(module)} == {second}
    assert [row.kind for row in senet.profile(model, latency=False).blocks] == [
        row.kind for row in senet.profile(again, latency=False).blocks
    ]


class Weighted(ECA):
    """A block with a parameter of its own, which nothing initialises."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels))

    def gate(self, x: Tensor) -> Tensor:
        return self.weight * super().gate(x)


def test_parameters_that_a_network_cannot_initialise_are_refused() -> None:
    register_block("weighted", Weighted)
    with pytest.raises(UsageError, match=r"Weighted has tensors of its own and no reset_parameters\(\)"):
        senet.create_model("weighted_cifar_resnet20")
    Weighted.reset_parameters = lambda self: nn.init.ones_(self.weight)  # pyright: ignore[reportAttributeAccessIssue]
    model: Any = senet.create_model("weighted_cifar_resnet20")
    assert model.layer1[0].se.weight.eq(1).all()


def test_a_user_block_may_see_the_shortcut() -> None:
    class Difference(ECA):
        title = "difference"
        placements = ("standard",)
        sees_shortcut = True
        squeezed_maps = 2

        def gate(self, residual: Tensor, identity: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return super().gate(residual - identity)

        def forward(self, residual: Tensor, identity: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return residual * self.gate(residual, identity)[..., None, None]

    register_block("difference", Difference)
    assert "difference_resnet18" in senet.list_models()
    assert "difference_vgg11_bn" not in senet.list_models()
    torch.manual_seed(0)
    zoo = senet.create_model("difference_cifar_resnet20").eval()
    host, images = senet.create_model("cifar_resnet20").eval(), torch.randn(2, 3, 16, 16)
    plan = senet.insert(host, "difference")
    host.load_state_dict(senet.rename_keys(zoo.state_dict(), plan, to="inserted"), strict=False)
    assert len(plan) == 9
    assert zoo(images).shape == host(images).shape
    with pytest.raises(UsageError, match="cannot take the placement 'pre'; allowed: standard"):
        senet.create_model("difference_cifar_resnet20", placement="pre")
