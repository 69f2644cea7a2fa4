import json
from pathlib import Path

import pytest

from senet.benchmarking import engines
from senet.cli.main import main

QUICK = ["--rounds", "1", "--max-seconds", "1"]
TINY = ["bench", "cifar_resnet20", "--size", "8", "--batch", "2", *QUICK]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "results" / "training.json"
    assert main([*TINY, "--mode", "training", "--out", str(path)]) == 0
    return path


def test_the_file_holds_everything(saved):
    tree = json.loads(saved.read_text())
    assert set(tree["versions"]) == {"python", "torch", "senet"}
    assert tree["threads"] >= 1
    assert tree["settings"]["mode"] == "training"
    assert tree["settings"]["network"] == "cifar_resnet20"
    (found,) = tree["comparisons"]
    assert found["base"] == "plain eager"
    assert set(found["timings"]) == set(found["memory"]) == {"plain eager", "se eager", "plain fused", "se fused"}
    assert set(found["timings"]["se fused"]) == {"median", "low", "high", "cpu", "rounds", "walls", "cpus"}
    assert found["overheads"]["fused"]["cpu"] > 0
    assert found["memory"]["se eager"]["saved"] > found["memory"]["plain eager"]["saved"]
    assert not found["interrupted"]


def test_json_is_all_of_standard_output(capsys):
    assert main([*TINY, "--engines", "eager", "--block", "sse", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert list(tree["comparisons"][0]["timings"]) == ["plain eager", "sse eager"]
    assert tree["settings"]["model.block"] == "sse"


def test_the_table_has_a_line_for_each(capsys):
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert "cifar_resnet20, 2 x 3x8x8, fp32: inference" in out
    assert all(name in out for name in ("plain eager", "se eager", "plain optimised", "se optimised", "CPU ratio"))


def test_saved_results_are_shown_again(saved, capsys):
    assert main(["bench", "--from", str(saved), str(saved)]) == 0
    assert capsys.readouterr().out.count("cifar_resnet20, 2 x 3x8x8, fp32: training") == 2
    assert main(["bench", "--from", str(saved), "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out)
    assert again == json.loads(saved.read_text())


def test_a_picture_of_saved_results(saved, tmp_path, capsys):
    picture = tmp_path / "overheads.svg"
    assert main(["bench", "--from", str(saved), "--plot", str(picture)]) == 0
    assert all(word in picture.read_text() for word in ("<svg", "eager", "fused", "cifar_resnet20, 2 x 3x8x8, fp32: training"))


def test_nothing_is_written_over(saved, tmp_path, capsys):
    before = saved.read_bytes()
    assert main([*TINY, "--out", str(saved)]) == 2
    assert f"{str(saved)!r} exists; --force writes over it" in capsys.readouterr().err
    assert saved.read_bytes() == before
    copy = tmp_path / "copy.json"
    copy.write_text("old")
    assert main([*TINY, "--engines", "eager", "--out", str(copy), "--force"]) == 0
    assert json.loads(copy.read_text())["comparisons"]


def test_ctrl_c_shows_what_there_is_and_writes_nothing(tmp_path, capsys, monkeypatch):
    interleave = "senet.benchmarking.run.interleave"
    from senet.measuring.timing import interleave as real

    def interrupted(functions, **options):
        real(functions, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(interleave, interrupted)
    out = tmp_path / "never.json"
    assert main([*TINY, "--out", str(out)]) == 130
    shown = capsys.readouterr()
    assert "se optimised" in shown.out
    assert "interrupted" in shown.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a network, such as resnet50"),
        (["resnet5"], "unknown model 'resnet5' (did you mean 'resnet50'?)"),
        (["cifar_resnet20", "--engines", "eager,fusd"], "unknown engine 'fusd' (did you mean 'fused'?); allowed: eager, fused"),
        (
            ["cifar_resnet20", "--engines", "timm", "--batch", "1"],
            "timm has no network such as cifar_resnet20: leave out the engine 'timm'",
        ),
        (["cifar_resnet20", "--mode", "train"], "unknown mode 'train'"),
        (["cifar_resnet20", "--dtype", "f16"], "unknown dtype 'f16'"),
        (["cifar_resnet20", "--batch", "0"], "--batch must be an integer of at least 1, got 0"),
        (["cifar_resnet20", "--threads", "0"], "--threads must be an integer of at least 1, got 0"),
        (["cifar_resnet20", "--rounds", "0"], "rounds must be an integer of at least 1"),
        (["cifar_resnet20", "--device", "gpu"], "unknown device 'gpu'"),
        (["cifar_resnet20", "--block", "none"], "compared with its recalibrated twin: name a block"),
        (["cifar_resnet20", "--lr", "1"], "'optim.lr' is no option of a network"),
        (["tail"], "unknown model 'tail'"),
        (["cifar_resnet20", "--plot", "x.pdf"], "--plot writes .svg, got 'x.pdf'"),
        (["cifar_resnet20", "--from", "x.json"], "leave out the network"),
        (["--from", "nowhere.json"], "cannot read 'nowhere.json'"),
    ],
)
def test_wrong_words_get_one_line(words, message, refused):
    assert message in refused("bench", *words)


def test_a_missing_library_is_named_with_the_cure(capsys, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda module: None)
    assert main([*TINY, "--engines", "eager,openvino"]) == 2
    assert "needs onnx, which is not installed: pip install 'senet[export]'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{}", "not json", "[]", '{"timings": {"plain": {"median": 1}}, "about": "old"}'])
def test_a_file_of_something_else_is_refused(text, tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text(text)
    assert main(["bench", "--from", str(path)]) == 2
    assert f"{str(path)!r} is no result of `senet bench`: " in capsys.readouterr().err
