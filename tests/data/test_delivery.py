"""What a worker cannot hand over arrives as an error, in one line, and the loader can be used again."""

import errno
import json
import multiprocessing
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from multiprocessing.resource_sharer import DupFd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from senet import userfile
from senet.data.delivery import DataError, WorkerError
from senet.data.loaders import eval_loader, train_loader
from senet.data.samplers import SampleKey
from senet.data.source import DataSource
from senet.data.views import Views
from senet.errors import UsageError
from senet.recipe import DataRecipe, build_recipe
from senet.spec import InputSpec
from senet.training.evaluate import evaluate
from senet.userfile import load_function


class Faulty:
    """Images of which each is read by a function."""

    in_memory = False

    def __init__(self, read: Any = None, target: Any = 0) -> None:
        self._read, self.targets = read, [target] * 8

    def __len__(self) -> int:
        return 8

    def read(self, index: int) -> Image.Image:
        return self._read(index) if self._read else Image.new("L", (4, 4))

    def describe(self, index: int) -> str:
        return f"image {index}"


@dataclass(frozen=True)
class Unsendable:
    """Target that is not to be pickled."""

    error: type[Exception]

    def __reduce__(self) -> Any:
        raise self.error("left at home")


def loader(read: Any = None, target: Any = 0, **changes: Any) -> Any:
    from senet.data.batch import Batch
    from senet.data.preparation import ImagePreparation

    class Kept(ImagePreparation):
        def collate(self, samples: Any) -> Batch:
            import torch

            return Batch(torch.stack([sample.image for sample in samples]), [sample.target for sample in samples], [])

    images = Faulty(read, target)
    source = DataSource("faulty", images, images, (), InputSpec(size=4, resize=4, channels=1, mean=(0.5,), std=(0.5,)))  # pyright: ignore
    return eval_loader(source, DataRecipe(batch_size=4, workers=1, **changes), Kept())


@pytest.mark.parametrize("error", [TypeError, IndexError, OSError])
def test_a_target_that_cannot_be_sent_is_an_error(error: type[Exception]) -> None:
    with pytest.raises(WorkerError, match=rf"^{error.__name__}: left at home$"):
        list(loader(target=Unsendable(error)))


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (KeyError("first\nsecond"), WorkerError, r"^KeyError: 'first\\nsecond'$"),
        (ValueError("first\nsecond"), WorkerError, "^ValueError: first second$"),
        (UsageError("set it right"), UsageError, "^set it right$"),
        (DataError("too many"), DataError, "^too many$"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "no"), WorkerError, "^UnicodeDecodeError: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_a_worker_is_one_line(error: Exception, kind: type[Exception], line: str) -> None:
    def read(index: int) -> Image.Image:
        raise error

    with pytest.raises(kind, match=line) as raised:
        list(loader(read))
    assert type(error).__name__ in str(raised.value.__cause__), "the traceback of the worker is kept"


def test_a_batch_without_shared_memory_names_the_remedy() -> None:
    def read(index: int) -> Image.Image:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # of this worker: no file in shared memory may have a byte
        return Image.new("L", (4, 4))

    with pytest.raises(WorkerError, match=r"for want of shared memory: /dev/shm has \d+ MB, \d+ MB of them free; .*--data\.workers 0"):
        list(loader(read))


def test_a_full_disk_is_not_taken_for_want_of_shared_memory() -> None:
    def read(index: int) -> Image.Image:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(WorkerError, match=r"^OSError: \[Errno 28\] No space left on device$"):
        list(loader(read))


def test_a_worker_that_ends_by_itself_is_named() -> None:
    def read(index: int) -> Image.Image:
        os._exit(3)

    with pytest.raises(WorkerError, match=r"a worker process that loads images has died \(pid \d+, exit code 3\)"):
        list(loader(read))
    with pytest.raises(WorkerError):
        evaluate_with(read)


def test_a_worker_that_has_closed_its_files_but_not_ended_yet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system lets go of what a killed process held before the process can be waited for; a signal's handler draws that out here."""

    def end_slowly(*_: object) -> None:
        os.closerange(3, 1024)
        time.sleep(0.5)
        os._exit(3)

    def read(index: int) -> Image.Image:
        signal.signal(signal.SIGUSR1, end_slowly)
        return Image.new("L", (4, 4))

    def broken(*_: object) -> None:
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGUSR1)
        assert wait([worker.sentinel], 60)
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))

    monkeypatch.setattr(DupFd, "detach", broken)
    with pytest.raises(WorkerError, match=r"a worker process that loads images has died \(pid \d+, exit code 3\)"):
        list(loader(read))


def evaluate_with(read: Any) -> None:
    from senet.models.create import create_model

    images = Faulty(read)
    images.targets = np.zeros(8, np.int64)  # pyright: ignore[reportAttributeAccessIssue]
    source = DataSource("faulty", images, images, ("a", "b"), InputSpec(size=4, resize=4, channels=1, mean=(0.5,), std=(0.5,)))  # pyright: ignore
    evaluate(create_model("cifar_resnet20", num_classes=2, in_channels=1), source, workers=1)


def test_a_loader_can_be_used_again_after_an_error() -> None:
    calls = []

    def read(index: int) -> Image.Image:
        if not calls:
            raise ValueError("once")
        return Image.new("L", (4, 4))

    batches = loader(read)
    with pytest.raises(WorkerError):
        list(batches)
    calls.append("seen by the workers that begin anew")
    assert len(list(batches)) == 2


OWN_SOURCE = Path(__file__).parents[1] / "faults" / "stuck_source.py"


@pytest.mark.parametrize("crops", ["centre", "ten"])
def test_processes_that_are_started_anew_run_the_users_files_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crops: str) -> None:
    recipe = DataRecipe(name=f"{OWN_SOURCE}:open_source", root=str(tmp_path), batch_size=8, workers=0, crop="pad", cutout=1)
    source = load_function(recipe.name, "data source")(recipe)
    loaders = train_loader(source, recipe, seed=0)._loader, eval_loader(source, recipe, views=Views(crops, scales=(5, 6)))
    sent = [bytes(ForkingPickler.dumps(batches._loader.dataset)) for batches in loaders]
    module = type(source.val).__module__
    assert module.startswith("senet_user_")
    monkeypatch.setattr(userfile, "_modules", {})  # as in a process that has run nothing yet
    monkeypatch.delitem(sys.modules, module)
    for data, key in zip(sent, ([SampleKey(0, 3)], [3]), strict=True):
        batch = pickle.loads(data)[key]
        assert batch.targets.tolist() == [3]
    assert module in sys.modules


def test_what_cannot_be_sent_to_processes_that_are_started_anew_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.data.waiting.get_start_method", lambda: "spawn")
    batches = loader(lambda index: None)
    batches._loader.multiprocessing_context = "spawn"
    with pytest.raises(UsageError, match=r"^worker processes here get the images and what prepares them pickled, .*--data\.workers 0$"):
        list(batches)


SPAWNED = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    from senet.cli.main import main
    sys.exit(main(["train", "own.yaml", "--folder", "run", "--quiet", "--allow-code", sys.argv[2], "--json"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_not_forked_load_images_of_a_users_file(tmp_path: Path, method: str) -> None:
    data = {"name": f"{OWN_SOURCE}:open_source", "root": str(tmp_path), "batch_size": 8, "workers": 2}
    tree = {"name": "own", "model": {"name": "cifar_resnet20"}, "data": data, "training": {"epochs": 2}}
    (tmp_path / "own.yaml").write_text(build_recipe(tree).to_yaml())
    (tmp_path / "go.py").write_text(SPAWNED)
    command = [sys.executable, "-W", "ignore", "go.py", method, str(OWN_SOURCE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 2


def test_a_long_wait_is_said_aloud_and_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A wait is looked at in slices; here 0.2 s stand for 2."""

    def read(index: int) -> Image.Image:
        time.sleep(60)
        return Image.new("L", (4, 4))

    for name, seconds in {"SLICE": 0.2, "SAID_AFTER": 0.4, "GIVE_UP": 0.6}.items():
        monkeypatch.setattr(f"senet.data.waiting.{name}", seconds)
    monkeypatch.setattr("senet.data.loaders.SLICE", 0.2)
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"no batch for 0\.6 s from the worker processes that load images \(pid \d+\): reading is stuck"):
        list(loader(read))
    assert time.monotonic() - began < 30  # one image takes twice as long
    assert [message.partition(" from")[0] for message in caplog.messages] == ["no batch for 0 s"]
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_between_two_epochs_is_named_where_the_next_begins() -> None:
    batches = loader()
    assert len(list(batches)) == 2
    (worker,) = multiprocessing.active_children()
    worker.kill()
    worker.join()
    sum(range(1000))  # where the death of a worker would be raised at once, in the middle of something else
    with pytest.raises(WorkerError, match=rf"has died \(pid {worker.pid}, killed by SIGKILL\)"):
        list(batches)
    assert len(list(batches)) == 2
    batches.close()


def test_a_worker_that_is_stopped_between_two_epochs_is_replaced() -> None:
    batches = loader()
    assert len(list(batches)) == 2
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    assert len(list(batches)) == 2
    batches.close()
    assert not worker.is_alive()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_torchs_own_watch_is_as_before_once_a_loader_is_closed(seen: int) -> None:
    list(loader())
    before = signal.getsignal(signal.SIGCHLD)
    batches = loader()
    for _, _ in zip(range(seen), batches, strict=False):
        assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
    batches.close()
    assert signal.getsignal(signal.SIGCHLD) == before
