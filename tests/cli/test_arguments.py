"""What commands share in reading their words."""

import os
import shlex
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from senet.cli.arguments import CommandParser, command_parser, model_changes, shape_of
from senet.cli.main import COMMANDS
from senet.errors import UsageError


@pytest.mark.parametrize("text", ["8,256,56,56", "8x256x56x56"])
def test_a_shape_is_four_numbers(text: str) -> None:
    assert shape_of(text, "--input-size") == (8, 256, 56, 56)


@pytest.mark.parametrize("text", ["8,256,56", "8,256,0,56", "a,b,c,d", ""])
def test_another_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--input-size must be four numbers N,C,H,W such as 1,3,224,224, got {text!r}"):
        shape_of(text, "--input-size")


def test_a_network_has_the_options_of_its_part_of_a_recipe() -> None:
    assert model_changes({"model.block": "se"}) == {"model.block": "se"}
    with pytest.raises(UsageError, match=r"'optim\.lr' is no option of a network; those are allowed: --block"):
        model_changes({"model.block": "se", "optim.lr": 1})


@pytest.mark.parametrize(
    "command",
    [
        ["train", "digits", "--out", "{}"],
        ["train", "digits", "--folder", "{}/run"],
        ["compare", "digits", "--out", "{}/runs"],
        ["bench", "cifar_resnet20", "--out", "{}/x.json"],
        ["bench", "cifar_resnet20", "--plot", "{}/x.svg"],
        ["insert", "cifar_resnet20", "--output", "{}/x.json"],
        ["export", "cifar_resnet20", "--to", "{}/x.onnx"],
        ["convert", "x.pth", "--to", "{}/x.safetensors"],
    ],
    ids=lambda words: " ".join(words[::3]),
)
def test_where_nothing_can_be_written_is_found_before_anything_is_done(
    command: list[str], tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "file").touch()
    line = refused(*(word.format(tmp_path / "file") for word in command))
    assert f"{tmp_path}/file' is a file, and no folder" in line
    assert "is too long for the name" in refused(*(word.format("x" * 300) for word in command))


@pytest.mark.parametrize(
    "command",
    [
        ["train", "digits", "--folder", "s3://bucket/run"],
        ["compare", "digits", "--out", "s3://bucket/runs"],
        ["compress", "x.safetensors", "--out", "s3://bucket/runs"],
        ["coco", ".", "--to", "http://server/boxes"],
        ["predict", ".", "--weights", "x.safetensors", "--coco-results", "s3://bucket/results.json"],
        ["predict", ".", "--weights", "x.safetensors", "--out", "s3://bucket/out"],
        ["shards", "build", ".", "s3://bucket/shards"],
        ["export", "cifar_resnet20", "--to", "s3://bucket/x.onnx"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_is_written_to_an_address(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"cannot write '{command[-1]}': files go to this machine; name a folder here, and upload it afterwards" in refused(*command)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["bench", "cifar_resnet20", "--out"],
        ["insert", "cifar_resnet20", "--output"],
        ["export", "cifar_resnet20", "--to"],
        ["convert", "x", "--to"],
    ],
    ids=lambda words: words[0],
)
def test_what_is_no_file_is_not_written_over(command: list[str], tmp_path: Path, refused: Callable[..., str]) -> None:
    for place, name in ((tmp_path / "d.json", "folder"), (tmp_path / "p.safetensors", "device or pipe")):
        place.mkdir() if name == "folder" else os.mkfifo(place)
        suffix = {"bench": ".json", "insert": ".json", "export": ".onnx", "convert": ".safetensors"}[command[0]]
        target = place.rename(place.with_suffix(suffix))
        force = [] if command[0] == "insert" else ["--force"]
        assert f"is a {name}; name a file to write" in refused(*command, target, *force)


def parser_of(command: str) -> CommandParser:
    """Return the parser of a command with all of its flags."""
    parser = command_parser(f"senet {command}", "About it")
    import_module(f"senet.cli.{command}").add_arguments(parser)
    return parser


EXAMPLES = [(command, example) for command in COMMANDS for example in parser_of(command).examples]


@pytest.mark.parametrize(("command", "example"), EXAMPLES, ids=[example for _, example in EXAMPLES])
def test_examples_of_the_help_are_whole_lines_that_their_command_takes(command: str, example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert example in parser_of(command).format_help().partition("\nexamples:\n")[2].splitlines()
    program, name, *words = shlex.split(example)
    assert program == "senet"
    parser_of(name).words(words)
