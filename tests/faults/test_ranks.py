"""Two processes that train as one decide together."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from faults.forked import code_of
from faults.ranks import fork_ranks, told
from made_runs import tiny
from senet.data.batch import Batch
from senet.data.loaders import TrainLoader
from senet.results.run_folder import RunFolder
from senet.training.checkpoint import read_checkpoint
from senet.training.loop import train

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

RECIPE = tiny(training__epochs=1, training__nonfinite="skip", training__save_steps=3, data__workers=0)


def test_a_step_that_one_of_them_cannot_count_is_left_out_by_both(tmp_path: Path) -> None:
    def work(rank: int) -> None:
        epoch = TrainLoader.epoch

        def poisoned(loader: TrainLoader, number: int, start: int = 0) -> Iterator[Batch]:
            for place, batch in enumerate(epoch(loader, number, start)):
                if (rank, place) == (1, 2):
                    batch.images[5] = torch.nan
                    Path("named").write_text(f"digits train image {batch.indices[5]}")
                yield batch

        TrainLoader.epoch = poisoned  # pyright: ignore[reportAttributeAccessIssue] - this process ends soon
        train(RECIPE, folder="run", progress=rank == 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        codes = [code_of(process) for process in fork_ranks(work, tmp_path)]
    said = told(tmp_path)
    assert codes == [0, 0], said
    run = RunFolder(tmp_path / "run")
    assert [row["skipped"] for row in run.metrics()] == [1]
    assert f"step 3 is left out: its loss is not finite; images: {(tmp_path / 'named').read_text()}\n" in said
    assert all(torch.isfinite(tensor).all() for tensor in read_checkpoint(run.checkpoint)["model"].values())
