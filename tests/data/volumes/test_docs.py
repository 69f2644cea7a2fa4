"""The page on volumes: its code writes volumes, its commands train on them and predict one where it lies."""

from pathlib import Path

import nibabel
import pytest

from pages import DOCS, examples, run_commands
from senet.results.run_folder import RunFolder


def test_its_code_and_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ((_, text),) = examples(DOCS / "volumes.md", "python")
    exec(compile(text, "volumes.md", "exec"), {})
    run_commands(DOCS / "volumes.md")
    source, found = nibabel.load("brains/images/case0.nii.gz"), nibabel.load("predicted/case0.nii.gz")
    assert (source.affine == found.affine).all()
    assert source.shape == found.shape
    rows = RunFolder.at("runs/slices").metrics()
    assert rows[-1]["val_volume_dice"] > 50
    assert 0 <= RunFolder.at("runs/patches").metrics()[-1]["val_volume_dice"] <= 100
