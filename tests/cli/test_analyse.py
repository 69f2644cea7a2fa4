"""`senet analyse`: tables, plain data and the page of one network, other libraries' files, and what is refused in one line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from made_analyses import written
from made_runs import tiny
from senet.cli.main import main
from senet.errors import UsageError
from senet.training.measured import ValidationSet

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = tiny(model__name="preresnet20", model__stages=[3])
    return written(recipe, tmp_path_factory.mktemp("digits") / "w.safetensors")[0]


def test_tables_fit_a_terminal_and_the_page_is_named(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["analyse", str(weights), "--limit", "30", "--out", str(page)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert max(len(line) for line in said.out.splitlines() if str(page) not in line) <= 80
    for words in (
        "SE_3_1",
        "SE_3_3",
        "to constant",
        "channel means",
        "one number",
        "dropped",
        "on 30 of 596 validation images",
        f"page: {page}",
    ):
        assert words in " ".join(said.out.split())
    assert "SE_3_2" in page.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [page]


def test_json_holds_what_was_asked_for(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyse", str(weights), "--limit", "30", "--modes", "none", "--json", "--quiet", "--data.batch_size", "7"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"]["count"] == 30
    assert [effect["name"] for effect in found["effects"]] == ["SE_3_1", "SE_3_2", "SE_3_3"]
    assert all(set(effect["losses"]) == {"none"} for effect in found["effects"])
    assert [block["path"] for block in found["gates"]["blocks"]] == [f"layer3.{unit}.se" for unit in range(3)]
    assert found["metric"]["name"] == "top1"
    assert {"action", "blocks", "text", "loss"} == set().union(*found["advice"])
    assert found["costs"]["total"]["macs"] > sum(cost["macs"] for cost in found["costs"]["blocks"].values()) > 0


def test_weights_of_another_library_on_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytorchcv = pytest.importorskip("pytorchcv.model_provider")
    torch.manual_seed(0)
    torch.save(pytorchcv.get_model("seresnet20_cifar10").state_dict(), tmp_path / "w.pth")
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in "abcdefghij":
            (tmp_path / "data" / part / name).mkdir(parents=True)
            Image.fromarray(random.integers(255, size=(32, 32, 3), dtype=np.uint8)).save(tmp_path / "data" / part / name / "1.png")
    words = ["analyse", f"pytorchcv:{tmp_path / 'w.pth'}", "--data.name", "folder", "--data.root", str(tmp_path / "data")]
    assert main([*words, "--data.image_size", "32", "--modes", "channel", "--limit", "3", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"]["classes"] == list("abcdefghij")
    assert len(found["effects"]) == 9


def test_what_is_refused(weights: Path, tmp_path: Path, refused: Refused) -> None:
    plain, _ = written(tiny(model__name="preresnet20", model__block=None), tmp_path / "plain.safetensors")
    assert "has no gates to analyse: its network, preresnet20, is plain" in refused("analyse", plain)
    there = tmp_path / "page.html"
    there.write_text("mine")
    assert "exists; --force writes over it" in refused("analyse", weights, "--out", there)
    assert there.read_text() == "mine"
    assert "unknown mode of --modes 'chanel' (did you mean 'channel'?)" in refused("analyse", weights, "--modes", "mean,chanel")
    assert "--limit must be at least 1 image, got 0" in refused("analyse", weights, "--limit", "0")
    assert "an evaluation has no field 'optim.lr'" in refused("analyse", weights, "--lr", "0.1")
    (tmp_path / "broken.safetensors").write_bytes(b"x" * 30)
    assert "broken.safetensors" in refused("analyse", tmp_path / "broken.safetensors", "--data.name", "digits")
    assert "none.safetensors" in refused("analyse", tmp_path / "none.safetensors")
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    assert "does not say what it was trained on: give --data.name and --data.root" in refused("analyse", tmp_path / "w.pth")


def test_an_interruption_leaves_no_page(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measure, calls = ValidationSet.measure, []

    def interrupted(self: ValidationSet, model: torch.nn.Module) -> object:
        calls.append(model)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, model)

    monkeypatch.setattr(ValidationSet, "measure", interrupted)
    assert main(["analyse", str(weights), "--limit", "10", "--out", str(tmp_path / "page.html")]) == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_figures_are_told_though_the_page_cannot_be_written(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: str, text: str) -> None:
        raise UsageError(f"cannot write {path}: no space left on device")

    monkeypatch.setattr("senet.atomic.write_text", full)
    assert main(["analyse", str(weights), "--limit", "10", "--modes", "none", "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr()
    assert "SE_3_3" in said.out
    assert "page:" not in said.out
    assert "no space left on device" in said.err


def test_progress_is_shown_on_a_terminal(weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    words = ["analyse", str(weights), "--limit", "10", "--modes", "none", "--json"]
    assert main(words) == 0
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert all(what in shown for what in ("reading gates", "freezing gates", "100%"))
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
