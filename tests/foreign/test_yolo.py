"""The page on YOLO run as written, in a process of its own: ultralytics changes what imports it, and is no dependency of the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pages import DOCS, ROOT, examples

ONLY_HERE = """
import socket
def refuse(*_, **__):
    raise AssertionError("a connection")
socket.socket.connect = refuse
"""

EXPORTED = """
from pathlib import Path
import onnxruntime
network.args = vars(network.args)
written = Path(yolo.export(format="onnx", imgsz=(64, 96), simplify=False, opset=18, verbose=False))
session = onnxruntime.InferenceSession(written)
with torch.no_grad():
    wanted = network.eval()(image[:1])[0]
(got,) = session.run(None, {session.get_inputs()[0].name: image[:1].numpy()})
assert torch.allclose(torch.from_numpy(got), wanted, rtol=1e-4, atol=1e-3)
written.unlink()
"""


@pytest.mark.parametrize(
    ("name", "sites", "fused"),
    [("yolov8n", 8, 8), pytest.param("yolo11n", 19, 19, marks=pytest.mark.slow), pytest.param("yolo26n", 30, 24, marks=pytest.mark.slow)],
)
def test_the_page_holds_for(name: str, sites: int, fused: int, tmp_path: Path) -> None:
    (text,) = (text for _, text in examples(DOCS / "yolo.md", "python"))
    text = text.replace("yolov8n.yaml", f"{name}.yaml") + f"\nassert (len(plan), gates) == ({sites}, {fused})\n"
    text += EXPORTED if name == "yolov8n" else ""
    for folder in ("home", "settings"):
        (tmp_path / folder).mkdir()
    places = {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "settings"),
        "YOLO_CONFIG_DIR": str(tmp_path / "settings"),
        "MPLCONFIGDIR": str(tmp_path / "settings"),
    }
    environment = os.environ | places | {"YOLO_OFFLINE": "true", "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", ONLY_HERE + text], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "home").iterdir()) == []
