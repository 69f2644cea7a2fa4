"""`senet.optimize(model, compile=True)` computes what the network does and stays the network that it was."""

import copy
import pickle
from collections import Counter
from functools import partial

import pytest
import torch

import senet
from oracles.optimized import distance, images, network
from senet.deploy import compiled

FAMILIES = (
    "se_resnet50",
    "resnet50",
    "se_resnext50_32x4d",
    "se_bn_inception",
    "se_mobilenet",
    "scse_resnet18",
    "se_wrn16_8",
    "se_preresnet20",
)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch.compile trace networks whole, and generate no code, which takes a minute a network."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))


@pytest.fixture
def small():
    return network("se_resnet18").get_submodule("layer2")


X = (2, 64, 9, 8)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("mode", [None, "default"])
def test_calls_are_compiled(small, monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    monkeypatch.setattr(compiled, "COMPILE_MODES", {} if mode is None else {"cpu": mode})  # what has a mode of its own copies its outputs
    form, x = senet.optimize(small, compile=True), torch.randn(X)
    with torch.no_grad():
        for images_of in (x, x[:1], x):
            assert distance(form(images_of), small(images_of)) < 1e-5
    assert form._compiled_call_impl is not None


@pytest.mark.usefixtures("traced")
def test_outputs_are_the_callers(small, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, begun = torch.randn(X), []
    monkeypatch.setattr(compiled, "COMPILE_MODES", {"cpu": "default"})
    form = compiled.CompiledCall(small)
    form._compiled["cpu"] = lambda x: {"logits": (outputs,), "image": x}
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(True))
    found = form(outputs)
    assert torch.equal(found["logits"][0], outputs)
    assert found["logits"][0].data_ptr() != outputs.data_ptr()
    assert begun == [True]


def test_it_stays_the_network(small) -> None:
    plain, form = senet.optimize(small), senet.optimize(small, compile=True)
    assert type(form) is type(plain)
    assert form.state_dict().keys() == plain.state_dict().keys()
    assert form.report.table() is not None  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    assert not form.training
    whole = senet.optimize(network("se_preresnet20"), compile=True)
    assert whole.config.name == "se_preresnet20"  # pyright: ignore[reportAttributeAccessIssue]
    x = torch.randn(X)
    with torch.no_grad():
        for other in (copy.deepcopy(form), pickle.loads(pickle.dumps(form))):
            assert other._compiled_call_impl is None
            assert torch.equal(other(x), plain(x))


@pytest.mark.usefixtures("traced")
def test_it_is_inlined_into_other_compiled_functions(small) -> None:
    form, x = senet.optimize(small, compile=True), torch.randn(X)
    whole = torch.compile(lambda image: form(image) + 1)
    with torch.no_grad():
        assert distance(whole(x), small(x) + 1) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_generated_code(name: str) -> None:
    model = network(name)
    form, x = senet.optimize(model, compile=True), images(name)
    with torch.no_grad():
        assert distance(form(x), model(x)) < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of Inductor and torch themselves
@pytest.mark.filterwarnings(
    "ignore:TensorFloat32 tensor cores:UserWarning", "ignore:Please use the new API settings to control TF32:UserWarning"
)
@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty:UserWarning")  # which Inductor captures itself, to hold its memory
class TestOnDevice:
    @pytest.fixture(autouse=True)
    def fresh(self) -> None:
        """Forget what was compiled: networks of one class count together against Dynamo's limit."""
        torch.compiler.reset()

    @pytest.fixture
    def without_tf32(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have convolutions of float32 multiply in float32.

        TF32, torch's default, keeps 10 bits, and cuDNN has it for some sizes and layouts only: one network may be rounded so where the
        other is not.
        """
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    @pytest.mark.usefixtures("without_tf32")
    @pytest.mark.parametrize("name", ["se_resnet50", "resnet50", "se_preresnet20", "se_mobilenet"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("whole", [False, True])
    def test_equals_the_network(self, name: str, dtype: torch.dtype, whole: bool) -> None:
        model, x = network(name), images(name, batch=4)
        with torch.no_grad():
            want = model.double()(x.double())
            eager = copy.deepcopy(model).to("cuda", dtype)
            allowed = max(2 * distance(eager(x.to("cuda", dtype)).double().cpu(), want), 1e-5)
            form = senet.optimize(eager, compile=whole)
            for layout in (torch.contiguous_format, torch.channels_last):
                for _ in range(3):  # a graph is recorded by the second call and replayed by the third
                    found = form(x.to("cuda", dtype).contiguous(memory_format=layout))
                    assert distance(found.double().cpu(), want) < allowed

    def test_moved_after_it_was_made(self) -> None:
        model, x = network("se_resnet50"), images("se_resnet50")
        form = senet.optimize(model).to("cuda", torch.bfloat16)
        assert form.get_submodule("layer1.0.conv2").weight.is_contiguous(memory_format=torch.channels_last)  # pyright: ignore
        with torch.no_grad():
            assert distance(form(x.to("cuda", torch.bfloat16)).float().cpu(), model(x)) < 3e-2

    def test_outputs_outlive_the_next_call(self) -> None:
        form = senet.optimize(network("se_preresnet20").cuda(), compile=True)
        with torch.no_grad():
            first, second = (torch.randn(2, 3, 32, 32, device="cuda") for _ in range(2))
            for image in (first, second):
                form(image)
            kept = form(first)
            before = kept.clone()
            form(second)
            assert torch.equal(kept, before)

    def test_no_more_launches_than_the_plain_network(self) -> None:
        counts = {}
        for name in ("resnet50", "se_resnet50"):
            form = senet.optimize(network(name).to("cuda", torch.bfloat16), compile=True)
            x = torch.randn(1, 3, 224, 224, device="cuda", dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                for _ in range(4):
                    form(x)
                with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
                    form(x)
                    torch.cuda.synchronize()
            counts[name] = sum(
                (Counter({event.key[:60]: event.count}) for event in profile.key_averages() if event.device_type.name == "CUDA"), Counter()
            )
        plain, se = counts["resnet50"], counts["se_resnet50"]
        more, fewer = dict(se - plain), dict(plain - se)
        assert se.total() <= plain.total() + 2, f"more: {more}, fewer: {fewer}"  # the last map's mean is a launch of its own
