"""A task of a user's own goes through everything, by name alone: the package knows nothing of numbers for images."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import senet
import senet.comparison.measure as measure
from made_runs import assert_same_run, tiny, train_until
from senet.cli.main import main
from senet.data.transforms import eval_transform
from senet.errors import UsageError
from senet.publishing.card import model_card
from senet.publishing.subject import Costs, Subject
from senet.recipe import Recipe
from senet.results.comparison import Result
from senet.results.run_folder import RunFolder
from senet.results.tables import cells_of
from senet.tasks.registry import open_task
from senet.training.predict import predict
from senet.weights.store import read_metadata

TASK = f"{Path(__file__).with_name('regression_task.py')}:ink"
CHANGES = {"task": TASK, "optim__lr": 0.002, "data__rotation": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a finished run of three epochs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("regression") / "run"
    senet.train(tiny(**CHANGES), folder=folder, progress=False)
    return RunFolder(folder)


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


@pytest.fixture
def unnamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for another process, in which nobody named the file."""
    monkeypatch.setattr("senet.userfile._named", set())


def test_training_logs_the_tasks_columns_and_keeps_the_epoch_of_the_lowest_error(run: RunFolder) -> None:
    rows, result = run.metrics(), run.result()
    assert list(rows[0]) == [
        *("epoch", "step", "lr", "train_loss", "train_mae", "val_loss", "val_mae", "seconds", "images_per_second", "corrupt", "skipped"),
    ]
    assert rows[-1]["train_mae"] < 0.7 * rows[0]["train_mae"]
    best = min(rows, key=lambda row: row["val_mae"])
    assert result.best_epoch == best["epoch"]
    assert result.metrics == pytest.approx({"mae": best["val_mae"], "loss": best["val_loss"]})
    assert [metric.title for metric in result.about] == ["mean absolute error"]
    assert next(iter(result.table().columns[2].cells)) == f"{result.metrics['mae']:.2f}"


def test_an_interrupted_run_goes_on(run: RunFolder, tmp_path: Path) -> None:
    train_until(5, tiny(**CHANGES), tmp_path)
    assert main(["train", "--resume", str(tmp_path), "--quiet"]) == 0
    assert_same_run(run.path, tmp_path)


def test_evaluation_agrees_with_counting_by_hand(run: RunFolder) -> None:
    found = senet.evaluate(run.path, tiny(**CHANGES).data, task=TASK)
    assert found.metrics == pytest.approx(run.result().metrics, rel=1e-5)
    source, model, errors = open_task(tiny(**CHANGES)).open(tiny(**CHANGES).data), senet.from_pretrained(run.weights), []
    for index in range(len(source.val)):
        image = source.val.read(index)
        with torch.inference_mode():
            errors.append(model(eval_transform(source.input)(image)[None]).item() - np.asarray(image).mean() / 2.55)
    assert found.metrics == pytest.approx({"mae": np.abs(errors).mean(), "loss": np.square(errors).mean()}, rel=1e-4)


def test_tables_of_parts_of_the_images_agree_with_counting_by_hand(run: RunFolder, capsys: pytest.CaptureFixture) -> None:
    recipe = tiny(**CHANGES).data
    found = senet.evaluate(run.path, recipe, task=TASK)
    source, model = open_task(tiny(**CHANGES)).open(recipe), senet.from_pretrained(run.weights)
    amounts = np.asarray(source.val.targets)
    with torch.inference_mode():
        outputs = np.array([model(eval_transform(source.input)(source.val.read(i))[None]).item() for i in range(len(amounts))])
    errors, little = np.abs(outputs - amounts), amounts < 30
    (name, rows), *others = found.tables.items()
    assert (name, others) == ("ink", [])
    assert rows["little"] == {"images": little.sum(), "mae": pytest.approx(errors[little].mean(), rel=1e-4)}
    assert rows["much"] == {"images": (~little).sum(), "mae": pytest.approx(errors[~little].mean(), rel=1e-4)}
    assert rows["all"] == {"images": 0, "mae": None}

    assert main(["eval", str(run.path), "--task", TASK, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == found.tables
    assert main(["eval", str(run.path), "--task", TASK, "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("mean absolute error %" in line and "images" in line for line in lines[4:])
    assert any({"little", str(little.sum()), f"{errors[little].mean():.2f}"} <= set(line.split()) for line in lines)


def test_tables_are_those_of_the_best_and_of_the_last_epoch(run: RunFolder) -> None:
    written, rows = json.loads((run.path / "tables.json").read_text()), run.metrics()
    assert written["last"]["epoch"] == 3
    assert written["best"]["epoch"] == run.result().best_epoch
    for when in ("best", "last"):
        parts = written[when]["tables"]["ink"]
        weighted = [part["images"] * part["mae"] for part in parts.values() if part["images"]]
        assert sum(weighted) / sum(part["images"] for part in parts.values()) == pytest.approx(rows[written[when]["epoch"] - 1]["val_mae"])
    assert run.tables() == written["last"]["tables"]
    assert "tables.json" in (run.path / "SHA256SUMS").read_text()


def test_several_networks_are_averaged(run: RunFolder, tmp_path: Path, grey: Path) -> None:
    other = tmp_path / "other"
    senet.train(tiny(**CHANGES, seed=1, training__epochs=1), folder=other, progress=False)
    values = [next(predict(runs, [grey])).to_dict()["ink"] for runs in (run.path, other, [run.path, other])]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2)
    (found,) = predict(run.path, [grey], crops="ten")
    assert found.prediction is not None
    assert found.prediction.draw(Image.open(grey)).height > 8


def test_commands(run: RunFolder, tmp_path: Path, grey: Path, capsys: pytest.CaptureFixture, unnamed: None) -> None:
    (tmp_path / "recipe.yaml").write_text(tiny(**CHANGES, training__epochs=1).to_yaml())
    assert main(["train", str(tmp_path / "recipe.yaml"), "--folder", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "mean absolute error %" in out
    assert "top-1" not in out + err
    assert "mean absolute error " in err
    assert main(["eval", str(run.path), "--task", TASK, "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mae"] == pytest.approx(run.result().metrics["mae"], rel=1e-5)
    assert main(["predict", str(grey), "--weights", str(run.path), "--task", TASK]) == 0
    assert capsys.readouterr().out.rstrip().endswith("% ink")
    assert main(["predict", str(grey), "--weights", str(run.path), "--task", TASK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0].keys() == {"image", "ink", "error"}


def test_comparison_and_report_speak_of_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("senet.comparison.measure.ROUNDS", 3)
    result = senet.compare(tiny(**CHANGES, training__epochs=1), seeds=2, out=tmp_path, progress=False)
    plain, se = ([RunFolder(Path(run.folder)).metrics()[-1]["val_mae"] for run in variant.runs] for variant in result.variants)
    assert result.differences["SE"].by_seed == pytest.approx([b - a for a, b in zip(plain, se, strict=True)])
    assert result.json is not None
    assert result.page is not None
    tree, page = json.loads(result.json.read_text()), result.page.read_text()
    assert tree["variants"][0]["metrics"]["mae"]["by_seed"] == pytest.approx(plain)
    assert [metric["higher_is_better"] for metric in tree["metrics"]] == [False]
    assert result.variants[1].cost.params > result.variants[0].cost.params
    for text in (page, result.summary, str(result.table().columns[1].header)):
        assert "ean absolute error" in text
        assert "top-1" not in text
        assert "top1" not in text


@pytest.mark.parametrize("words", [["eval"], ["predict", "image.png", "--weights"]], ids=" ".join)
def test_weights_alone_run_no_code(run: RunFolder, capsys: pytest.CaptureFixture, unnamed: None, words: list[str]) -> None:
    assert main([*words, str(run.weights)]) == 2
    err = capsys.readouterr().err
    assert f"a file of weights is no reason to run that code: name it yourself, --task {TASK}" in err
    assert err.count("\n") == 1


def test_comparison_and_report(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, unnamed: None) -> None:
    monkeypatch.setattr(measure, "ROUNDS", 3)
    flags = {"task": TASK, "lr": 0.002, "rotation": 0, "epochs": 2, "batch_size": 256}
    words = ["compare", "digits", *(word for name, value in flags.items() for word in (f"--{name}", str(value))), "--out", str(tmp_path)]
    assert main([*words, "--seeds", "2"]) == 0
    out, err = capsys.readouterr()
    assert "mean absolute error %" in out
    assert "(lower is better)" in out
    result = Result.read(tmp_path / "compare-digits" / "result.json")
    assert [metric.name for metric in result.metrics] == ["mae"]
    assert result.data.classes == ()
    for variant in result.variants:
        for one in variant.runs:
            run = RunFolder(Path(one.folder))
            assert one.last("val_mae") == pytest.approx(run.result().final["val_mae"])
            assert one.best(result.primary) == pytest.approx(run.result().metrics["mae"])
            assert one.history.keys() == {"train_loss", "train_mae", "val_loss", "val_mae"}
    plain, se = (variant.last("val_mae") for variant in result.variants)
    assert result.differences["SE"].by_seed == pytest.approx([ours - theirs for ours, theirs in zip(se, plain, strict=True)])
    assert result.variants[1].cost.step.median > 0
    assert "mean absolute error % by ink (lower is better)" in " ".join(out.split())
    for variant in result.variants:
        for one in variant.runs:
            parts = RunFolder(Path(one.folder)).tables()
            assert one.tables == parts
            assert parts["ink"]["little"]["mae"] is not None
    cells = {cell.row: cell for cell in cells_of(result.tables, "ink", "mae")}
    assert cells["all"].values == {"plain": (), "SE": ()}
    much = [[run.tables["ink"]["much"]["mae"] for run in variant.runs] for variant in result.variants]
    differences = [ours - theirs for theirs, ours in zip(*much, strict=True)]
    assert cells["much"].difference("SE", "plain").by_seed == pytest.approx(differences)
    assert [list(panel.classes) for panel in result.variants[1].excitations] == [[0]] * 5
    page = (tmp_path / "compare-digits" / "report.html").read_text(encoding="utf-8")
    assert " ".join(result.summary.split(". ")[0].split()) in page
    assert "Difference in mean absolute error (lower is better) to plain" in page
    assert "all images" in page
    assert "top-1" not in (out + err + page).lower()

    assert main([*words, "--seeds", "1", "--json", "--no-report"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["variants"][1]["metrics"]["mae"]["by_seed"] == [se[0]]
    assert err.count("done before") == 2


def test_a_card_speaks_of_the_tasks_metric(run: RunFolder) -> None:
    metadata = read_metadata(run.weights)
    card = model_card(Subject("user/ink", metadata, Costs((1, 8, 8), params=1, block_params=0, macs=1)))
    assert "| mean absolute error (lower is better) on the validation images (%) |" in card
    assert "pipeline_tag" not in card


def test_networks_of_two_tasks_are_not_averaged(run: RunFolder, tmp_path: Path) -> None:
    senet.train(tiny(training__epochs=1), folder=tmp_path, progress=False)
    with pytest.raises(UsageError, match=r"was trained for .*:ink and .* for classification: they cannot be averaged"):
        senet.evaluate([run.path, tmp_path], tiny().data)


def test_classes_cannot_be_taken_in_turn_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'class_aware' needs one class an image"):
        senet.train(tiny(**CHANGES, data__sampler="class_aware"), folder=tmp_path / "run", progress=False)


def test_another_task_is_another_recipe() -> None:
    assert tiny(task=TASK).digest() != tiny().digest()
    assert Recipe().task == "classification"
