import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet.cli import doctor, installed
from senet.cli.installed import Package
from senet.cli.main import main
from senet.data.shared_memory import SharedMemory
from senet.ops.backend import BUILDERS
from senet.ops.passes.torch import TorchKernels
from senet.ops.passes.triton import proven


def findings(capsys, *words: str, code: int = 0) -> dict[tuple[str, str], dict]:
    assert main(["doctor", *words, "--json"]) == code
    tree = json.loads(capsys.readouterr().out)
    assert tree["healthy"] is (code == 0)
    return {(entry["section"], entry["name"]): entry for entry in tree["findings"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            path = tmp_path / split / name
            path.mkdir(parents=True)
            for index in range(3):
                Image.new("RGB", (20, 16), (index, 0, 0)).save(path / f"{index}.jpg")
    return tmp_path


def test_this_machine(capsys):
    found = findings(capsys)
    assert found["versions", "torch"]["found"] > "2.13"
    assert {name for section, name in found if section == "extras"} >= {"train", "report", "export", "hub", "bench"}
    assert "cores" in found["devices", "cpu"]["found"]
    assert {name for section, name in found if section == "compilers"} == {"g++", "nvcc", "ninja"}


@pytest.mark.parametrize(("free", "complains"), [(64 * 10**6, True), (2**33, False)])
def test_little_shared_memory_is_named_with_the_cure(capsys, monkeypatch, free, complains):
    monkeypatch.setattr("senet.data.shared_memory.shared_memory", lambda: SharedMemory(2**34, free))
    (check,) = doctor._shared_memory()
    assert check.name == "/dev/shm"
    assert check.found == f"shared memory of 16 GiB, {free / 2**30:.2g} free"
    assert ("--data.workers 0" in check.complaint) is complains
    assert not check.fatal
    monkeypatch.setattr("senet.data.shared_memory.shared_memory", lambda: None)
    assert doctor._shared_memory() == []


def test_operators_that_cannot_run_are_named_with_the_reason(capsys, monkeypatch):
    monkeypatch.setitem(BUILDERS, "cpp", lambda device: (None, "c++ is not found"))
    found = findings(capsys)["operators", "cpu"]
    assert (found["found"], found["complaint"], found["fatal"]) == ("reference", "cpp cannot run: c++ is not found", False)
    monkeypatch.setitem(BUILDERS, "cpp", lambda device: (TorchKernels(), ""))
    found = findings(capsys)["operators", "cpu"]
    assert (found["found"], found["complaint"]) == ("cpp, the fastest for cpu", "")


def test_table_has_a_line_for_each(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("versions", "extras", "devices", "compilers", "torch", "ninja"))


def test_what_is_missing_is_named_with_the_cure(capsys, monkeypatch):
    monkeypatch.setattr(
        installed, "requires", lambda _: ["torch>=99", "rich>=1,<2", 'nowhere-to-be-found>=1.5; extra == "hub"', 'pip; extra == "hub"']
    )
    found = findings(capsys, code=1)
    assert found["versions", "torch"]["complaint"].endswith("needs >=99")
    assert found["versions", "rich"]["complaint"].endswith("needs >=1,<2")
    hub = found["extras", "hub"]
    assert hub["found"].startswith("pip ")
    assert hub["complaint"] == "nowhere-to-be-found>=1.5 is missing: pip install 'senet[hub]'"
    assert hub["fatal"] is False


@pytest.mark.parametrize(
    ("found", "bounds", "fine"),
    [
        ("2.13", ">=2.13", True),
        ("2.15.0+cu132", ">=2.13", True),
        ("2.9.1", ">=2.13", False),
        ("2.6.4", ">=2.6.4", True),
        ("2.6.3", ">=2.6.4", False),
        ("5.0", ">=4.50,<5", False),
        ("4.53.0", "<5,>=4.50", True),
        ("1.0", "", True),
    ],
)
def test_versions_compare_by_number(found, bounds, fine):
    assert (Package("package", bounds, found).complaint == "") is fine


@pytest.mark.parametrize("text", ["pyright[nodejs]>=1.1; extra == 'dev'", 'pyright[nodejs]>=1.1 ; extra == "dev"'])
def test_requirements_as_metadata_writes_them(text, monkeypatch):
    monkeypatch.setattr(installed, "requires", lambda _: [text, "senet[train]; extra == 'dev'"])
    (package,) = installed.packages()["dev"]
    assert (package.name, package.bounds) == ("pyright", ">=1.1")


def test_an_absent_compiler_is_no_failure(capsys, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name, path: None)
    assert findings(capsys)["compilers", "nvcc"]["complaint"] == "not found (operators for NVIDIA GPUs)"


def test_a_folder_in_order(folder, capsys):
    assert findings(capsys, "--data-root", str(folder))["data", "folder"]["found"] == "6 training and 6 validation images of 2 classes"


def test_digits_need_no_root(capsys):
    assert "images of 10 classes" in findings(capsys, "--data-name", "digits")["data", "digits"]["found"]


def test_cifar10_in_order(cifar10_small, capsys):
    found = findings(capsys, "--data-root", str(cifar10_small), "--data-name", "cifar10")["data", "cifar10"]
    assert found["found"] == "1500 training and 500 validation images of 10 classes"


def break_nothing(folder: Path) -> Path:
    return folder / "nowhere"


def break_val(folder: Path) -> Path:
    (folder / "val").rename(folder / "validation")
    return folder


def break_class(folder: Path) -> Path:
    for image in (folder / "train" / "dog").iterdir():
        image.unlink()
    return folder


def break_image(folder: Path) -> Path:
    image = folder / "val" / "cat" / "1.jpg"
    image.write_bytes(image.read_bytes()[:200])
    return folder


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (break_nothing, "folder", "is not a folder"),
        (break_val, "folder", "has no folder 'val'; it has: train, validation"),
        (break_class, "folder", "train/dog has no images"),
        (break_image, "folder", "1 of 12 images looked at cannot be read, such as"),
        (break_nothing, "cifar10", "nowhere"),
        (break_nothing, "cifar", "unknown data 'cifar' (did you mean 'cifar10'?)"),
    ],
)
def test_a_data_root_that_cannot_work_is_one_line(folder, damage, name, message, capsys):
    finding = findings(capsys, "--data-root", str(damage(folder)), "--data-name", name, code=1)["data", name]
    assert message in finding["complaint"]
    assert "\n" not in finding["complaint"]
    assert finding["fatal"] is True


def test_what_is_left_out_of_a_data_root_is_said(folder, capsys):
    (folder / "train" / "dog" / "x.psd").write_text("")
    capsys.readouterr()
    assert main(["doctor", "--data-root", str(folder)]) == 0
    assert "files left out, which are no images that are read, by suffix: .psd 1" in " ".join(capsys.readouterr().out.split())


def test_doctor_takes_the_range_of_deep_images(folder, capsys):
    Image.fromarray(np.full((8, 8), 4095, np.int32)).save(folder / "val" / "dog" / "x.tif")
    assert "--data.range LOW,HIGH" in findings(capsys, "--data-root", str(folder), code=1)["data", "folder"]["complaint"]
    found = findings(capsys, "--data-root", str(folder), "--data-range", "0,4095")
    assert found["data", ""]["complaint"] == "1 of 13 images looked at have more than 8 bits (I 1)"


def test_a_warning_of_the_driver_is_a_finding(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def available() -> bool:
        warnings.warn("CUDA initialization: the driver\n  is too old", UserWarning, stacklevel=2)
        return False

    monkeypatch.setattr("torch.cuda.is_available", available)
    assert findings(capsys)["devices", "warning"]["complaint"] == "CUDA initialization: the driver is too old"


def test_kernels_are_told_apart_by_whether_they_ran_on_a_device(capsys, monkeypatch):
    where = proven.DeviceCheck("a GPU", "2.11", "3.6", "2026-11-26", "abc")
    monkeypatch.setattr(proven, "PROVEN", {"first": (where, "")})
    monkeypatch.setattr(proven, "CHANGED", {"second": where})
    monkeypatch.setattr(proven, "UNPROVEN", ("third", "fourth"))
    main(["doctor", "--json"])
    said = [finding["found"] for finding in json.loads(capsys.readouterr().out)["findings"] if finding["name"] == "triton kernels"]
    assert said == [
        "first: run on a device (a GPU, torch 2.11, triton 3.6, 2026-11-26, commit abc)",
        "second: not yet run on a device in this form, but in an earlier one (a GPU, torch 2.11, triton 3.6, 2026-11-26, commit abc)",
        "fourth, third: not yet run on a device, but in Triton's interpreter, and compiled for sm_90",
    ]


def masks_in(root: Path, label: int = 255) -> Path:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            Image.new("RGB", (20, 16)).save(root / split / "images" / f"{number}.png")
            Image.fromarray(np.resize(np.array([0, label], np.uint8), (16, 20))).save(root / split / "masks" / f"{number}.png")
    return root


def test_masks_are_recognised_and_looked_at(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = masks_in(tmp_path / "data")
    assert findings(capsys, "--data-root", str(root))["data", "masks"]["found"] == "3 training and 3 validation images of 2 classes"
    main(["doctor", "--data-root", str(root)])
    assert "3 images for val in val/images with val/masks; masks by index" in " ".join(capsys.readouterr().out.split())
    (root / "train" / "masks" / "1.png").unlink()
    finding = findings(capsys, "--data-root", str(root), code=1)["data", "masks"]
    assert "1 images of 3 have no mask in train/masks" in finding["complaint"]
