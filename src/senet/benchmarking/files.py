"""Engines that run an exported file: ONNX Runtime and OpenVINO, with as many threads as torch has."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from senet.benchmarking.workload import Workload
from senet.deploy.export import export_onnx
from senet.errors import UsageError

CUDA_PROVIDER = "CUDAExecutionProvider"

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
    """Return a run of the network's file in ONNX Runtime."""
    return run_in_onnxruntime(exported_file(work, form, optimised=optimised), work.images)


def run_in_onnxruntime(file: Path, images: Tensor) -> Callable[[], object]:
    """Return a run of a file on images (N, C, H, W) in ONNX Runtime, on the CPU; its waiting threads sleep."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else process-CPU time means nothing
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images.contiguous().numpy()}
    return lambda: session.run(None, feed)


def cuda_provider(work: Workload, form: str) -> str:
    """Return the name of ONNX Runtime's part for CUDA devices.

    Raises:
        UsageError: if what is installed has none.
    """
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise UsageError("the onnxruntime that is installed has no part for CUDA: pip install onnxruntime-gpu, or leave out the engine")
    return CUDA_PROVIDER


def onnxruntime_cuda_step(work: Workload, form: str, *, optimised: bool) -> Callable[[], object]:
    """Return a run of the file in ONNX Runtime on the images' device, inputs and outputs there; float32, in which its products are TF32."""
    import onnxruntime

    index = work.images.device.index or 0
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    file = exported_file(work, form, optimised=optimised)
    session = onnxruntime.InferenceSession(file, options, providers=[(cuda_provider(work, form), {"device_id": index})])
    images = work.images.contiguous()
    torch.cuda.synchronize(images.device)  # the runtime has a stream of its own
    binding = session.io_binding()
    binding.bind_input(session.get_inputs()[0].name, "cuda", index, "float32", list(images.shape), images.data_ptr())
    binding.bind_output(session.get_outputs()[0].name, "cuda", index)

    def run() -> Tensor:
        session.run_with_iobinding(binding)
        return images  # held, since the runtime knows its address only

    return run


def openvino_step(work: Workload, form: str, *, optimised: bool) -> Callable[[], object]:
    """Return a run of the network's file in OpenVINO."""
    return run_in_openvino(exported_file(work, form, optimised=optimised), work.images, work.settings.dtype)


def run_in_openvino(file: Path, images: Tensor, dtype: str = "fp32") -> Callable[[], object]:
    """Return a run of a file on images (N, C, H, W) in OpenVINO; `dtype`, of `PRECISION`, is that of what is not in 8 bits."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": PRECISION[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    network = core.read_model(file)
    network.reshape(list(images.shape))  # as a user who knows his batch would
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    values = images.float().contiguous().numpy()
    return lambda: request.infer({0: values})
