import json
import subprocess
import sys

import torch

from senet.measuring import machine
from senet.measuring.machine import bench_environment, commit, device_name, processor, run_environment, version_of


def test_the_environment_says_on_what_and_with_what():
    found = bench_environment(packages=("timm", "nowhere-to-be-found"))
    assert set(found) == {"device", "threads", "versions", "commit", "date"}
    assert set(found["versions"]) == {"python", "torch", "senet", "timm"}
    assert found["device"]
    assert found["date"].endswith("+00:00")


def test_a_run_says_on_what_it_began():
    found = run_environment(torch.device("cpu"), processes=3)
    assert (found["device"], found["accelerator"], found["processes"]) == (processor(), "cpu", 3)
    assert (found["threads"], found["packages"]["torch"]) == (torch.get_num_threads(), version_of("torch"))
    assert (found["cuda"], found["cudnn"]) == (None, None)
    assert json.loads(json.dumps(found)) == found


def test_a_device_has_the_name_of_its_processor():
    assert device_name("cpu") == device_name(torch.device("cpu")) == processor()


def test_an_absent_library_has_no_version():
    assert version_of("nowhere-to-be-found") is None


def test_the_commit_is_that_of_the_package_only(tmp_path, monkeypatch):
    """A package that is installed inside somebody's repository does not take that repository's commit for its own."""
    package = tmp_path / "project" / "site-packages" / "senet"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")

    def git(*words: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(
            ["git", *identity, *words], cwd=tmp_path / "project", check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "theirs")
    monkeypatch.setattr(machine, "PACKAGE", package)
    assert commit([package]) is None
    git("add", ".")
    git("commit", "-q", "-m", "ours")
    assert commit([package]) == git("rev-parse", "HEAD")
    (package / "__init__.py").write_text("changed = True")
    assert commit([package]) == f"{git('rev-parse', 'HEAD')}, modified"


def test_without_git_there_is_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() is None


def test_it_loads_no_torch():
    code = "import sys, senet.measuring.machine, senet.benchmarking.settings; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
