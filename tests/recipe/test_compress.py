import pytest

from senet.errors import UsageError
from senet.recipe import ModelRecipe, Recipe, build_recipe, override
from senet.recipe.compress import LEFT_OF, RANK_NAMES, SCOPES_OF_CUTS, Compression, parse_compress


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("none", None),
        ("gate0.7", Compression("gate", 0.7, "macs")),
        ("gate_spread0.7", Compression("gate_spread", 0.7, "macs")),
        ("gate_activation_0.25@params", Compression("gate_activation", 0.25, "params")),
        ("l1_0.7", Compression("l1", 0.7, "macs")),
        ("l10.7", Compression("l1", 0.7, "macs")),
        ("l2_0.5@latency", Compression("l2", 0.5, "latency")),
        ("taylor0.5@memory", Compression("taylor", 0.5, "memory")),
        ("random0.05", Compression("random", 0.05, "macs")),
        ("l1_0.7:layer", Compression("l1", 0.7, "macs", "layer")),
        ("gate0.7@latency:global", Compression("gate", 0.7, "latency", "global")),
        ("gate0.7@latency64", Compression("gate", 0.7, "latency", batch=64)),
        ("l1_0.5@latency8:layer", Compression("l1", 0.5, "latency", "layer", 8)),
    ],
)
def test_what_is_said_is_read(text, wanted):
    assert parse_compress(text) == wanted
    assert ModelRecipe(compress=text).compression == wanted
    assert wanted is None or parse_compress(wanted.text) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gates0.7", "did you mean 'gate'"),
        ("tailor0.5", "did you mean 'taylor'"),
        ("gate", "the share that is left, above 0 and below 1"),
        ("gate1.0", "the share that is left, above 0 and below 1"),
        ("gate0.0", "the share that is left, above 0 and below 1"),
        ("l1_70", "the share that is left, above 0 and below 1"),
        ("gate0.7@latencie", "did you mean 'latency'"),
        ("gate0.7@flops", "allowed: macs, params, memory, latency"),
        ("gate0.7@flops64", "allowed: macs, params, memory, latency"),
        ("gate0.7@macs64", "only latency has a number of images behind it"),
        ("gate0.7@latency0", "must be such as"),
        ("gate0.7:layr", "did you mean 'layer'"),
        ("", "rankings: gate, "),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(text, told):
    with pytest.raises(UsageError, match=r"model\.compress must be such as none") as caught:
        build_recipe({"model": {"compress": text}})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_ranking_and_cost_can_be_said():
    for rank in RANK_NAMES:
        for cost in LEFT_OF:
            assert parse_compress(f"{rank}_0.5@{cost}") == Compression(rank, 0.5, cost)


def test_labels_and_what_needs_gates():
    labels = [Compression("gate", 0.7).label, Compression("l1", 0.5, "latency").label]
    labels.append(Compression("l1", 0.5, "latency", batch=64).label)
    assert labels == ["gate 0.7 of MACs", "l1 0.5 of latency", "l1 0.5 of latency of 64 images"]
    assert [Compression(rank, 0.5).needs_gates for rank in ("gate", "gate_spread", "l1", "random")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_recipe_without_compression_has_the_digest_it_had():
    assert Recipe().digest() == override(Recipe(), {"compress": "none"}).digest()
    assert Recipe().digest() != override(Recipe(), {"compress": "random0.5"}).digest()
    assert build_recipe({"model": {"compress": "l1_0.7"}}).to_dict()["model"]["compress"] == "l1_0.7"


def test_rankings_are_those_of_pruning():
    from senet.compression.pruning.importance import CHANNEL_RANKS
    from senet.compression.pruning.selection import SCOPES
    from senet.compression.pruning.target import TARGETS

    assert set(RANK_NAMES) == CHANNEL_RANKS.keys()
    assert set(LEFT_OF) == set(TARGETS)
    assert tuple(SCOPES) == SCOPES_OF_CUTS
