"""Engines that run an exported file: ONNX Runtime and OpenVINO, with as many threads as torch has."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch

from senet.benchmarking.workload import Workload
from senet.deploy.export import export_onnx

PRECISION = {"fp32": "f32", "bf16": "bf16"}
"""Name of a type -> OpenVINO's."""


def exported_file(work: Workload, form: str, *, optimised: bool) -> Path:
    """Return the ONNX file of a network in float32, written once for all engines; it is not checked, which `senet export` does."""
    path = work.folder / f"{form}-{'optimised' if optimised else 'exported'}.onnx"
    if not path.exists():
        network = deepcopy(work.networks[form]).to("cpu", torch.float32)
        example = torch.randn(2, *work.images.shape[1:], generator=torch.Generator().manual_seed(0))
        export_onnx(network, path, example, optimize=optimised, verify=False)
    return path


def onnxruntime_step(work: Workload, form: str, *, optimised: bool) -> Callable[[], object]:
    """Return a run of the file in ONNX Runtime; its waiting threads sleep."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else process-CPU time means nothing
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(exported_file(work, form, optimised=optimised), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: work.images.contiguous().numpy()}
    return lambda: session.run(None, feed)


def openvino_step(work: Workload, form: str, *, optimised: bool) -> Callable[[], object]:
    """Return a run of the file in OpenVINO."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": PRECISION[work.settings.dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    network = core.read_model(exported_file(work, form, optimised=optimised))
    network.reshape(list(work.images.shape))  # as a user who knows his batch would
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    images = work.images.float().contiguous().numpy()
    return lambda: request.infer({0: images})
