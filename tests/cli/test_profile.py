import json
import subprocess
import sys
from pathlib import Path

import pytest

from senet import create_model, save_weights
from senet.cli.main import main
from senet.spec import InputSpec

QUICK = ["--input-size", "1,3,16,16"]


def test_table(capsys):
    assert main(["profile", "se_preresnet20", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "se_preresnet20, 1x3x16x16 float32, cpu" in out
    assert "ratio" in out
    assert "Traceback" not in err


def test_json_is_all_of_standard_output(capsys):
    assert main(["profile", "se_preresnet20", *QUICK, "--batch-size", "4", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["input_size"] == [4, 3, 16, 16]
    assert (tree["params"], tree["plain"]["params"]) == (274_655, 272_282)
    assert tree["ratios"]["latency"]["low"] > 0


def test_options_of_the_network_are_flags(capsys):
    words = ["profile", "preresnet20", "--block", "se", "--reduction", "8", "--stages", "[3]", *QUICK, "--json"]
    assert main(words) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["params"] - tree["plain"]["params"] == 3 * (2 * 64 * 8 + 8 + 64)


@pytest.mark.parametrize("as_folder", [False, True])
def test_weights_say_their_network_and_images(tmp_path, capsys, as_folder):
    path = tmp_path / "best.safetensors"
    images = InputSpec(size=12, resize=12, channels=1, mean=(0.5,), std=(0.5,))
    save_weights(create_model("se_preresnet20", in_channels=1, num_classes=3), path, input=images)
    assert main(["profile", str(tmp_path if as_folder else path), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert (tree["name"], tree["input_size"]) == ("se_preresnet20", [1, 1, 12, 12])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["se_preresnt20"], "unknown model 'se_preresnt20' (did you mean 'se_preresnet20'?)"),
        (["missing.safetensors"], "missing.safetensors"),
        (["se_preresnet20", "--input-size", "3,32"], "--input-size must be four numbers N,C,H,W such as 1,3,224,224, got '3,32'"),
        (["se_preresnet20", "--input-size", "1,3,a,b"], "got '1,3,a,b'"),
        (["se_preresnet20", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["se_preresnet20", "--threads", "-1"], "--threads must be at least 1, got -1"),
        (["se_preresnet20", "--device", "gpu"], "unknown device 'gpu'"),
        (["se_preresnet20", "--lr", "3"], "'optim.lr' is no option of a network"),
        (["se_preresnet20", "--placement", "before"], "model.placement"),
    ],
)
def test_wrong_words_get_one_line(words, message, refused):
    assert message in refused("profile", *words)


def test_a_folder_with_the_name_of_a_network_does_not_hide_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "preresnet20").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["profile", "preresnet20", *QUICK, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["params"] == 272_282


def test_weights_take_no_options(tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    save_weights(create_model("preresnet20"), path)
    assert main(["profile", str(path), "--reduction", "8"]) == 2
    assert "leave out model.reduction" in capsys.readouterr().err


def test_threads_are_set_in_a_process_of_its_own():
    words = [str(Path(sys.executable).parent / "senet"), "profile", "preresnet20", *QUICK, "--threads", "1", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["device"] == "cpu, 1 thread"


def test_one_number_is_the_side_of_an_image(capsys):
    assert main(["profile", "scse_unet", "--model.options.width", "4", "--model.options.depth", "1", "--input-size", "24", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["input_size"] == [1, 3, 24, 24]
    assert tree["latency"]["median"] > 0
    assert main(["profile", "scse_unet", "--input-size", "1024", "--no-latency", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["input_size"] == [1, 3, 1024, 1024]
    assert tree["latency"] is None
    assert tree["activation_bytes"] > tree["plain"]["activation_bytes"] > 2e9
    volume = ["--model.options.width", "4", "--model.options.depth", "1", "--input-size", "1,3,6,8,4", "--json"]
    assert main(["profile", "scse_unet3d", *volume]) == 0
    assert json.loads(capsys.readouterr().out)["input_size"] == [1, 3, 6, 8, 4]
