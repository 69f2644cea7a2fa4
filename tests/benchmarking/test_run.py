"""Networks on engines: what is built, in which order, and what is refused before anything is."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from senet import ChannelSE
from senet.benchmarking import engines
from senet.benchmarking.engines import ENGINES, check_engines, packages_of
from senet.benchmarking.peers import PEERS, operations_note
from senet.benchmarking.run import Candidates, engine_candidates, measure, measure_network
from senet.benchmarking.settings import Settings
from senet.benchmarking.workload import Workload, workload
from senet.errors import UsageError
from senet.measuring.steps import InferenceStep, TrainingStep

QUICK = {"rounds": 1, "max_seconds": 1.0}


def tiny(folder: Path, name: str = "cifar_resnet20", mode: str = "inference", **options):
    return workload(name, Settings(mode, **QUICK), folder, **({"batch": 2, "size": 8} | options))


def test_the_twins_differ_in_the_block_only(tmp_path):
    work = tiny(tmp_path, "preresnet20", block="scse", reduction=4)
    assert work.forms == ("plain", "scse")
    assert work.about == "preresnet20, 2 x 3x8x8, fp32: inference"
    plain, recalibrated = (dict(network.named_parameters()) for network in work.networks.values())
    assert set(plain) < set(recalibrated)
    assert all(".se." in name for name in set(recalibrated) - set(plain))
    assert recalibrated["layer1.0.se.cse.fc1.weight"].shape == (4, 16)


@pytest.mark.parametrize(("name", "form"), [("cifar_resnet20", "se"), ("sse_cifar_resnet20", "sse")])
def test_the_name_says_the_block(name, form, tmp_path):
    assert tiny(tmp_path, name).forms == ("plain", form)


def test_no_block_is_nothing_to_compare(tmp_path):
    with pytest.raises(UsageError, match="compared with its recalibrated twin: name a block"):
        tiny(tmp_path, block=None)


def test_networks_are_as_the_mode_and_type_say(tmp_path):
    half = workload("cifar_resnet20", Settings("inference", "bf16"), tmp_path, batch=2, size=8)
    for network in half.networks.values():
        assert not network.training
        assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    assert half.images.dtype == torch.bfloat16
    assert half.images.is_contiguous(memory_format=torch.channels_last)
    training = workload("cifar_resnet20", Settings("training", "bf16"), tmp_path, batch=2, size=8)
    assert {p.dtype for p in training.networks["se"].parameters()} == {torch.float32}
    candidates = engine_candidates(training, ["eager", "fused"])
    for step, tails in zip(candidates.functions.values(), ("reference", "reference", None, None), strict=True):
        assert isinstance(step, TrainingStep)
        assert (step.autocast, step.tails, step.model.training) == (torch.bfloat16, tails, True)


@pytest.mark.parametrize(
    ("engine", "tails"), [("eager", "reference"), ("fused", None), ("compiled", "reference"), ("compiled-fused", None)]
)
def test_engines_take_the_tail_that_they_say(engine, tails, tmp_path):
    step = ENGINES[engine].build(tiny(tmp_path), "se")
    assert isinstance(step, InferenceStep)
    assert step.tails == tails
    assert isinstance(step.model, torch._dynamo.OptimizedModule) == engine.startswith("compiled")


def test_training_is_timed_and_weighed(tmp_path):
    found = measure_network(tiny(tmp_path, mode="training"))
    assert list(found.timings) == ["plain eager", "se eager", "plain fused", "se fused"]
    assert found.pairs == {"eager": ("se eager", "plain eager"), "fused": ("se fused", "plain fused")}
    assert set(found.memory) == set(found.timings)
    assert 1.1 < found.memory["se eager"].saved / found.memory["plain eager"].saved < 1.4
    assert all(memory.peak > memory.saved > 0 for memory in found.memory.values())
    assert any(note.startswith("fused: ") for note in found.notes)
    assert not found.interrupted


def test_inference_has_no_memory_of_a_step(tmp_path):
    found = measure_network(tiny(tmp_path))
    assert list(found.pairs) == ["eager", "optimised"]
    assert found.memory == {}


@pytest.fixture(scope="module")
def two_layers(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    """Return a workload of two tiny networks, which are exported in a second."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)]
    networks = {form: nn.Sequential(*deepcopy(layers), *tail).eval() for form, tail in (("plain", []), ("se", [ChannelSE(16)]))}
    return Workload(networks, torch.randn(2, 3, 9, 7), torch.tensor([0, 1]), Settings(), tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_files_compute_what_the_network_does(engine, two_layers):
    pytest.importorskip(engine)
    for form, network in two_layers.networks.items():
        with torch.inference_mode():
            want = network(two_layers.images)
        for name in (engine, f"{engine}-exported"):
            found: Any = ENGINES[name].build(two_layers, form)()
            output = torch.as_tensor(next(iter(found.values())) if engine == "openvino" else found[0])
            torch.testing.assert_close(output, want, rtol=1e-4, atol=1e-5)
    files = sorted(path.name for path in two_layers.folder.iterdir())
    assert files == [f"{form}-{graph}.onnx" for form in ("plain", "se") for graph in ("exported", "optimised")]
    assert len({(two_layers.folder / name).read_bytes() for name in files}) == 4


def test_peers_have_the_same_network(tmp_path):
    pytest.importorskip("pytorchcv")
    work = tiny(tmp_path, size=32)
    candidates = engine_candidates(work, ["eager", "pytorchcv"])
    steps = {name: step for name, step in candidates.functions.items() if isinstance(step, InferenceStep)}
    sizes = {name: sum(p.numel() for p in step.model.parameters()) for name, step in steps.items()}
    assert sizes == {"plain eager": 272_474, "se eager": 274_847, "plain pytorchcv": 272_474, "se pytorchcv": 274_847}
    assert candidates.notes == ()


def test_a_peer_with_other_strides_is_said_to_differ(tmp_path):
    pytest.importorskip("timm")
    note = operations_note(PEERS["timm"], tiny(tmp_path, "resnet50", batch=1, size=32))
    assert note.startswith("timm's resnet50 has ")
    assert note.endswith("(options such as v1_5 differ)")


@pytest.mark.parametrize(
    ("names", "mode", "dtype", "message"),
    [
        (["eagre"], "inference", "fp32", r"unknown engine 'eagre' \(did you mean 'eager'\?\); allowed: eager, fused"),
        (["optimised"], "training", "fp32", "the engine 'optimised' has no mode 'training'; it has: inference"),
        (["onnxruntime"], "inference", "bf16", "the engine 'onnxruntime' has no dtype 'bf16'; it has: fp32"),
        (["eager", "eager"], "inference", "fp32", "engines are named twice: eager"),
    ],
)
def test_what_cannot_run_is_refused(names, mode, dtype, message):
    with pytest.raises(UsageError, match=message):
        check_engines(names, Settings(mode, dtype))


def test_file_engines_are_for_cpus():
    with pytest.raises(UsageError, match="the engine 'openvino' has no device 'cuda'; it has: cpu"):
        check_engines(["openvino"], Settings(device="cuda"))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("timm", r"the engine 'timm' needs timm, which is not installed: pip install timm"),
        ("openvino", r"the engine 'openvino' needs onnx, which is not installed: pip install 'senet\[export\]'"),
    ],
)
def test_a_missing_library_is_named_with_the_cure(name, line, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda module: None)
    with pytest.raises(UsageError, match=line):
        check_engines([name], Settings())


def test_what_a_peer_lacks_is_found_before_anything_is_built(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    monkeypatch.setitem(ENGINES, "eager", engines.Engine(lambda work, form: pytest.fail("built")))
    with pytest.raises(UsageError, match="timm has no network such as cifar_resnet20: leave out the engine 'timm'"):
        engine_candidates(tiny(tmp_path), ["eager", "timm"])


def test_an_engine_that_fails_says_which(tmp_path):
    pytest.importorskip("pytorchcv")
    with pytest.raises(
        UsageError, match="the engine 'pytorchcv' cannot run plain cifar_resnet20, 2 x 3x8x8, fp32: inference: RuntimeError: "
    ):
        engine_candidates(tiny(tmp_path), ["pytorchcv"])


def test_versions_of_engines_count():
    assert packages_of(["eager", "onnxruntime", "timm"]) == ["onnx", "onnxscript", "onnxruntime", "timm"]


def test_an_interruption_keeps_whole_rounds():
    def press_at_three(step: str) -> None:
        if "3 of 9 rounds" in step:
            raise KeyboardInterrupt

    found = measure(Candidates({"work": lambda: None}), "a function", Settings(rounds=9, max_seconds=100.0), status=press_at_three)
    assert found.interrupted
    assert found.timings["work"].rounds == 3


def test_an_interruption_in_the_first_round_ends_it():
    def work() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(Candidates({"work": work}), "a function", Settings(rounds=3, max_seconds=100.0))
