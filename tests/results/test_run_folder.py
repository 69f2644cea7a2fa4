"""A run's folder says what it holds, and nothing in it is overwritten unasked."""

from pathlib import Path

import pytest

from made_runs import tiny
from senet.errors import UsageError
from senet.results.metric import Metric
from senet.results.run import RunResult
from senet.results.run_folder import RunFolder, new_run, resumed_run

ROW = {"epoch": 1, "step": 4, "lr": 0.1, "train_loss": 1.25, "train_top1": 50.0, "val_loss": 1.5, "val_top1": 40.0}
ROW |= {"val_top5": 90.0, "seconds": 1.5, "images_per_second": 1000.0, "corrupt": 0}
ABOUT = (Metric("top1", "top-1", "%", accuracy=True), Metric("top5", "top-5", "%", accuracy=True))


def result(folder: Path) -> RunResult:
    return RunResult(folder, epochs=1, best_epoch=1, metrics={"top1": 40.0, "top5": 90.0, "loss": 1.5}, final=ROW, seconds=1.5, about=ABOUT)


def begun(path: Path) -> RunFolder:
    run = RunFolder(path)
    run.begin(tiny(), {"python": "3"})
    return run


def test_a_run_writes_and_reads_its_files(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.write_metrics([ROW, {**ROW, "epoch": 2}])
    assert run.recipe() == tiny()
    assert run.metrics() == [ROW, {**ROW, "epoch": 2}]
    assert (tmp_path / "metrics.csv").read_text().startswith(",".join(ROW) + "\n1,4,0.1,1.25,")
    assert not run.is_finished()
    run.finish(result(tmp_path))
    assert run.is_finished()
    assert run.result() == result(tmp_path)


def test_a_result_without_a_task_is_one_of_classification(tmp_path: Path) -> None:
    tree = {"folder": str(tmp_path), "epochs": 1, "best_epoch": 1, "top1": 40.0, "top5": 90.0, "loss": 1.5, "final": ROW, "seconds": 1.5}
    assert RunResult.from_dict(tree) == result(tmp_path)
    assert RunResult.from_dict(tree).to_dict() == tree | {"about": [metric.to_dict() for metric in ABOUT]}


def test_columns_are_those_of_the_task(tmp_path: Path) -> None:
    row = {"epoch": 1, "lr": 0.1, "train_loss": 1.0, "val_loss": 2.0, "val_error": 3.5, "corrupt": 0}
    run = begun(tmp_path)
    run.write_metrics([row])
    assert run.metrics() == [row]
    assert isinstance(run.metrics()[0]["corrupt"], int)


def test_a_moved_run_knows_where_it_is(tmp_path: Path) -> None:
    begun(tmp_path / "a").finish(result(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert RunFolder(tmp_path / "b").result().folder == tmp_path / "b"


def test_a_new_run_is_named_after_recipe_and_digest(tmp_path: Path) -> None:
    assert new_run(tiny(), tmp_path, None).path == tmp_path / f"tiny-{tiny().digest()}"
    assert new_run(tiny(), tmp_path, tmp_path / "here").path == tmp_path / "here"


def test_a_run_without_a_checkpoint_may_begin_again(tmp_path: Path) -> None:
    begun(tmp_path)
    assert new_run(tiny(), "runs", tmp_path).path == tmp_path


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda path: begun(path).finish(result(path)), "holds a finished run"),
        (lambda path: begun(path).checkpoint.touch(), r"unfinished run; go on with --resume"),
        (lambda path: (path / "thesis.tex").touch(), "is taken by something else"),
    ],
    ids=["finished", "unfinished", "foreign"],
)
def test_a_new_run_overwrites_nothing(tmp_path: Path, fill, message: str) -> None:
    fill(tmp_path)
    with pytest.raises(UsageError, match=message):
        new_run(tiny(), "runs", tmp_path)


def test_resume_needs_an_unfinished_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not the folder of a run: it has no recipe\.yaml"):
        resumed_run(tmp_path, None)
    run = begun(tmp_path)
    assert resumed_run(tmp_path, None) == (run, tiny())
    run.finish(result(tmp_path))
    with pytest.raises(UsageError, match=r"is finished: 1 epochs, top-1 40\.00 %; nothing to resume"):
        resumed_run(tmp_path, None)


def test_resume_may_change_what_the_weights_do_not_depend_on(tmp_path: Path) -> None:
    begun(tmp_path)
    changed = tiny(data__workers=2, training__save_steps=1)
    assert resumed_run(tmp_path, changed)[1] == changed
    with pytest.raises(
        UsageError, match=r"begun with another data\.batch_size, seed; a resumed run may only change name, about, data\.root"
    ):
        resumed_run(tmp_path, tiny(seed=1, data__batch_size=64, data__workers=1))


def test_a_folder_of_images_is_part_of_the_recipe(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(tiny(data__name="folder", data__root="here"), {})
    with pytest.raises(UsageError, match=r"begun with another data\.root; a resumed run may only change name, about, data\.download"):
        resumed_run(tmp_path, tiny(data__name="folder", data__root="there"))


def test_weights_of_a_file_and_of_a_run(tmp_path: Path) -> None:
    assert RunFolder.weights_of(tmp_path / "w.safetensors") == tmp_path / "w.safetensors"
    assert RunFolder.weights_of(tmp_path) == tmp_path / "best.safetensors"


def test_the_table_shows_best_and_last(tmp_path: Path) -> None:
    table = result(tmp_path).table()
    assert [list(column.cells) for column in table.columns] == [["best", "last"], ["1", "1"], ["40.00"] * 2, ["90.00"] * 2, ["1.5000"] * 2]
