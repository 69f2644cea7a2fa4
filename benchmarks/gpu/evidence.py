"""Ten seeds of preresnet20 on CIFAR-10, plain against SE, by `senet compare`, and its report where results are kept."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "benchmarks" / "results" / "evidence"
CHANGES = {"--model.name": "preresnet20", "--training.precision": "bf16", "--data.num_classes": "10"}
SEEDS = 10


def words(data: Path, jobs: int, out: Path) -> list[str]:
    """Return the command's words."""
    changes = [word for pair in CHANGES.items() for word in pair]
    more = ["--data.root", str(data), "--vary", "block=none,se", "--seeds", str(SEEDS), "--jobs", str(jobs), "--out", str(out)]
    return ["compare", "cifar10_preresnet110", *changes, *more]


def gather(data: Path, jobs: int, environment: Mapping[str, str]) -> int:
    """Run the comparison (again: it goes on), and copy result and report."""
    out = Path(gettempdir()) / "senet-evidence"
    command = [sys.executable, "-m", "senet.cli.main", *words(data.resolve(), jobs, out)]
    code = subprocess.run(command, cwd=ROOT, env=dict(environment), check=False).returncode
    if code == 0:
        PLACE.mkdir(parents=True, exist_ok=True)
        for path in (out / "compare-cifar10_preresnet110").glob("re*.*"):
            (PLACE / f"preresnet20_cifar10.{path.name}").write_bytes(path.read_bytes())
        print(f"the report is in {PLACE}")
    return code
