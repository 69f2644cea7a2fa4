"""One of two processes is killed: all start anew, and the run ends with the weights and metrics of one that was never hurt."""

import signal
from pathlib import Path

import pytest

from faults.forked import code_of
from faults.launched import SENET, TORCHRUN, Launched
from faults.ranks import fork_ranks, told
from made_runs import assert_same_run, tiny
from process_ends import assert_all_end
from senet.results.run_folder import RunFolder
from senet.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")]

RECIPE = tiny(training__epochs=3, training__save_steps=5, data__batch_size=64, data__workers=0)
TRAIN = (*SENET, "tiny.yaml", "--folder", "run", "--quiet")
OWN = [*TRAIN, "--devices", "2"]
TORCHS = [*TORCHRUN, "--max-restarts", "1", *TRAIN, "--or-resume"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return the run of two processes that was never hurt."""
    root = tmp_path_factory.mktemp("whole")
    run = RunFolder(root / "run")
    codes = [code_of(rank) for rank in fork_ranks(lambda rank: bool(train(RECIPE, folder=run.path, progress=False)) - 1, root)]
    assert codes == [0, 0], told(root)
    return run


def begun(root: Path, words: list[str]) -> Launched:
    (root / "tiny.yaml").write_text(RECIPE.to_yaml())
    launched = Launched(root, words, variables={"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"})
    launched.until_saved(epoch=1)
    return launched


@pytest.mark.parametrize(("words", "rank"), [(OWN, 1), (TORCHS, 0)], ids=["senet", "torchrun"])
def test_killed_in_the_middle_of_an_epoch_it_ends_as_if_it_had_not_been(
    tmp_path: Path, whole: RunFolder, words: list[str], rank: int
) -> None:
    launched = begun(tmp_path, words)
    pids = launched.all()
    launched.kill(rank)
    assert launched.ended() == 0, launched.told()
    assert_all_end(pids)
    assert_same_run(launched.run.path, whole.path)
    if words is OWN:
        told = "process 1 was ended by SIGKILL: all start anew and go on from what was saved (restart 1 of 3)"
        assert told in launched.lines()
        assert "Traceback" not in launched.told()


def test_killed_more_often_than_allowed_it_ends_with_a_line_and_goes_on_when_told_to(tmp_path: Path, whole: RunFolder) -> None:
    launched = begun(tmp_path, [*OWN, "--max-restarts", "0"])
    launched.kill(0)
    assert launched.ended() == 128 + signal.SIGKILL
    assert launched.lines()[-1] == (
        "senet train: process 0 was ended by SIGKILL, and the others with it; --resume goes on from what was saved"
    )
    again = Launched(tmp_path, [*SENET, "--resume", "run", "--devices", "2", "--quiet"])
    assert again.ended() == 0, again.told()
    assert_same_run(launched.run.path, whole.path)
