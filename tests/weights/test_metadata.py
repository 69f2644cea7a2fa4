"""Metadata that others wrote: types, ranges and lengths are right, or one line says what is wrong where."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mutation import with_value
from senet.errors import UsageError
from senet.models.create import create_model
from senet.spec import InputSpec
from senet.weights.metadata import STATEMENTS, WeightsMetadata, parse_metadata
from senet.weights.store import read_metadata, save_weights
from weights.made_metadata import strings_of, write_described


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Metadata of a file of ours, as plain data."""
    path = write_described(tmp_path_factory.mktemp("weights") / "w.safetensors")
    said = {key: json.loads(value) for key, value in strings_of(path).items() if key in STATEMENTS}
    return said | {"extra": {"epoch": 3, "loss": float("nan")}}


def parsed(said: dict[str, Any]) -> WeightsMetadata:
    return parse_metadata("w.safetensors", {key: json.dumps(value) for key, value in said.items()})


def test_every_field_of_the_metadata_has_a_rule(said: dict[str, Any]) -> None:
    assert STATEMENTS.keys() == said.keys()
    assert {"source", "config", *STATEMENTS} - {"model"} == set(WeightsMetadata.__dataclass_fields__)


def test_what_we_write_is_read_back(said: dict[str, Any]) -> None:
    metadata = parsed(said)
    assert metadata.model == said["model"]
    assert metadata.classes == tuple("abcd")
    assert metadata.input == InputSpec(32, 36, 3, (0.5,) * 3, (0.25,) * 3)
    assert metadata.extra["epoch"] == 3


def test_a_silent_file_and_words_of_other_programs() -> None:
    assert parse_metadata("w", {"format": "pt", "author": "[", "input": "null", "model": "null"}) == WeightsMetadata("w")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("model",), [], r"w\.safetensors: model: expected null or a mapping"),
        (("model",), float("nan"), "model: expected null or a mapping of names to values, got nan"),
        (("model",), {}, "model: 'name' is missing"),
        (("model", "name"), "\x1b[31m", r"model\.name: expected the name of a network, got '\\x1b\[31m'"),
        (("model", "options"), [1], r"model\.options: expected a mapping"),
        (("model", "options", "num_classes"), 10**12, "num_classes: expected null or an integer from 0 to 10000000"),
        (("model", "options", "block"), {"kind": 3}, r"options\.block\.kind: expected text"),
        (("model", "options", "placement"), "behind", r"options\.placement: expected one of 'standard'"),
        (("model", "options", "omitted"), [[1]], r"options\.omitted\[0\]: expected a list of 2 values"),
        (("classes",), {}, "classes: expected null or a list"),
        (("classes",), [], "classes: expected a list of 1 to"),
        (("classes", 1), 7, r"classes\[1\]: expected text"),
        (("input", "size"), 0, r"input\.size: expected an integer from 1 to 4096, got 0"),
        (("input", "size"), 60_000, "input.size: expected an integer from 1 to 4096, got 60000"),
        (("input", "std", 1), 0, r"input\.std\[1\]: expected a finite number at least 1e-09"),
        (("input", "mean"), [0.5], "input: mean must have one number for each of the 3 channels, got 1"),
        (("input", "mean", 0), "0.5", r"input\.mean\[0\]: expected a finite number"),
        (("recipe",), [1], "recipe: expected null or a mapping"),
        (("recipe", "data"), 3, r"recipe\.data: expected a mapping"),
        (("senet",), {}, "senet: expected null or text"),
        (("extra",), 3, "extra: expected a mapping"),
        (("extra", "deep"), [[[[[[[[[[[[[1]]]]]]]]]]]]], r"extra\.deep: expected plain data of at most 12 levels"),
    ],
)
def test_what_metadata_cannot_say(said: dict[str, Any], place: tuple[Any, ...], value: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        parsed(with_value(said, place, value))
    assert str(raised.value).startswith("w.safetensors: ")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("text", ["{", "[" * 10**5, "1" * 5000, '{"name": 1, "name": 2}', "", "\ud800", "[" * 20 + "]" * 20])
@pytest.mark.parametrize("key", STATEMENTS)
def test_what_is_no_json(key: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"^w: {key}") as raised:
        parse_metadata("w", {key: text})
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"extra": {"loss": float("nan")}}, "extra is not plain data with finite numbers"),
        ({"extra": {"network": nn.Linear}}, "extra is not plain data with finite numbers"),
        ({"recipe": {"data": 3}}, r"recipe\.data: expected a mapping"),
        ({"classes": [1, 2]}, r"classes\[0\]: expected text"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(said: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"cannot write .*{message}"):
        save_weights(nn.Linear(1, 1), tmp_path / "w.safetensors", **said)
    assert list(tmp_path.iterdir()) == []


def test_an_input_that_cannot_be_is_refused_wherever_it_is_made() -> None:
    good: dict[str, Any] = {"size": 8, "resize": 8, "channels": 1, "mean": (0.5,), "std": (0.5,)}
    faults: tuple[dict[str, Any], ...] = (
        {"size": 0},
        {"size": 8.5},
        {"std": (0.0,)},
        {"mean": (0.1, 0.2)},
        {"mean": (float("nan"),)},
        {"channels": 0},
        {"resize": -1},
    )
    for bad in faults:
        with pytest.raises(UsageError, match=f"input.*{next(iter(bad))}"):
            InputSpec(**good | bad)


def test_a_new_head_has_no_names_of_the_old_classes(tmp_path: Path) -> None:
    model: Any = create_model("preresnet20", num_classes=4)
    save_weights(model, tmp_path / "w.safetensors", classes="abcd")
    model.weights_metadata = read_metadata(tmp_path / "w.safetensors")
    model.reset_classifier(3)
    save_weights(model, tmp_path / "w.safetensors")
    assert read_metadata(tmp_path / "w.safetensors").classes is None


def test_metadata_of_an_unknown_network_name_nothing_and_load(tmp_path: Path) -> None:
    save_weights(nn.Linear(1, 1), tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="does not say which network"):
        _ = read_metadata(tmp_path / "w.safetensors").model
