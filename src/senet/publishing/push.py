"""Trained networks to where others find them, with a card that says what they are."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import nn

import senet
from senet.errors import UsageError
from senet.jsontext import json_text
from senet.models.network import ModelConfig
from senet.profiling import profile
from senet.publishing.card import model_card
from senet.publishing.public import public, public_recipe
from senet.publishing.subject import Costs, Subject
from senet.spec import InputSpec
from senet.surgery.wrappers import plain_state, unwrap
from senet.weights.hub import CARD, CONFIG, PREFIX, WEIGHTS, upload
from senet.weights.metadata import WeightsMetadata
from senet.weights.store import find_config, metadata_of, read_metadata, read_weights, save_weights


def push_to_hub(
    model: nn.Module,
    repo: str,
    *,
    classes: Sequence[str] | None = None,
    input: InputSpec | None = None,  # noqa: A002 - the field's name in the metadata
    recipe: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    license: str | None = None,  # noqa: A002 - the hub's name for it
    private: bool = False,
    token: str | None = None,
    message: str | None = None,
    card: bool | Literal["replace"] = True,
) -> str:
    """Put a network on the Hugging Face hub: model.safetensors, config.json and a model card; `senet.from_pretrained(repo)` gets it back.

    Args:
        model: a network of `create_model` or `from_pretrained`.
        repo: "USER/REPO"; made if there is none.
        classes: names of the classes, in the order of the logits; None = those of the weights that were loaded into it.
        input: the images it expects; None = as with the classes.
        recipe: the experiment that made it; None = that of the loaded weights, if the network still has them. The folder of its images is
            left out, as the folder of every other path is.
        extra: evaluation numbers and anything else that is plain data; None = as with the recipe.
        license: the hub's identifier of the weights' licence, such as "apache-2.0".
        private: whether a new repository is private.
        token: the user's token; None = that of `hf auth login` or $HF_TOKEN.
        message: the commit's message; None = "Weights of NAME".
        card: whether to write README.md. One that is there already is kept, and the log says so; "replace" overwrites it.

    Returns:
        The commit's address.

    Raises:
        UsageError: if nothing says how to build the network again, huggingface-hub is not installed, the user is not logged in or may not
            write there, or the hub cannot be reached.
    """
    model = unwrap(model)
    config = find_config(model)
    if config is None:
        raise UsageError(f"nothing says how to build this {type(model).__name__} again: push a network that create_model made")
    if ".py:" in config.name:
        raise UsageError(f"{config.name!r} is code of yours, which weights do not carry: from_pretrained could not build it elsewhere")
    repo = repo.removeprefix(PREFIX)
    loaded = metadata_of(model)
    if _is_unchanged(model, loaded):
        recipe, extra = loaded.recipe if recipe is None else recipe, loaded.extra if extra is None else extra
    with TemporaryDirectory() as folder:
        weights = Path(folder) / WEIGHTS
        with _public_config(model):
            save_weights(model, weights, classes=classes, input=input, recipe=public_recipe(recipe), extra=public(extra))
        metadata = read_metadata(weights)
        files: dict[str, bytes | Path] = {WEIGHTS: weights, CONFIG: _config_file(metadata).encode()}
        if card:
            told = replace(metadata, config=config.to_dict())  # its blocks are looked up where they lie here
            files[CARD] = model_card(Subject(repo, told, _costs(model, metadata.input), license)).encode()
        if_absent = () if card == "replace" else (CARD,)
        return upload(repo, files, if_absent=if_absent, message=message or f"Weights of {config.name}", private=private, token=token)


def _is_unchanged(model: nn.Module, loaded: WeightsMetadata) -> bool:
    """Return whether a network has the weights that were loaded into it: numbers measured on those say nothing of others."""
    if not Path(loaded.source).is_file() or loaded.config is None:
        return False
    theirs, own = read_weights(loaded.source), plain_state(model)
    return theirs.keys() == own.keys() and all(torch.equal(tensor, own[name].cpu()) for name, tensor in theirs.items())


class _PublicConfig(ModelConfig):
    def to_dict(self) -> dict[str, Any]:
        return public(super().to_dict())


@contextmanager
def _public_config(model: Any) -> Iterator[None]:
    """Let a network tell its configuration as it is published while the block runs."""
    own = model.config
    model.config = _PublicConfig(own.name, own.options)
    try:
        yield
    finally:
        model.config = own


def _config_file(metadata: WeightsMetadata) -> str:
    images = None if metadata.input is None else asdict(metadata.input)
    tree = {"library_name": "senet", "senet": senet.__version__, "model": metadata.config, "input": images}
    return json_text(tree) + "\n"


def _costs(model: nn.Module, images: InputSpec | None) -> Costs:
    size = _input_size(model) if images is None else (images.channels, images.size, images.size)
    found = profile(model, (1, *size), latency=False)
    return Costs(size, found.params, found.share.params, found.macs, None if found.plain is None else found.plain.macs)


def _input_size(model: nn.Module) -> tuple[int, ...]:
    size = getattr(model, "input_size", None)
    assert isinstance(size, tuple), "every network of create_model says its input size"
    return size
