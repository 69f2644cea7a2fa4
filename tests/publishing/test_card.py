"""The model card says what is so, its code runs as printed, and nothing in the metadata breaks it."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import yaml
from torch.nn.modules.module import register_module_forward_pre_hook

import senet
from oracles.hub_server import HubServer
from senet.publishing.card import model_card
from senet.publishing.papers import papers
from senet.publishing.subject import Costs, Subject
from senet.results.metric import Metric
from senet.spec import InputSpec
from senet.weights.metadata import WeightsMetadata

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own uploads

INPUT = InputSpec(size=20, resize=24, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
OPTIONS = {"num_classes": 3, "block": {"kind": "se"}, "placement": "pre", "stages": [3, 4]}
SUBJECT = Subject(
    "user/net",
    WeightsMetadata(
        "model.safetensors",
        config={"name": "se_resnet50", "options": OPTIONS},
        classes=("cat", "dog", "eel"),
        input=INPUT,
        recipe={"name": "mine", "data": {"name": "cifar10", "root": None}},
        extra={"epoch": 7, "val_top1": 91.23456},
    ),
    Costs((3, 20, 20), params=28_088_024, block_params=2_530_992, macs=3_869_000_000, plain_macs=3_860_000_000),
    license="mit",
)


def with_metadata(**fields) -> Subject:
    return replace(SUBJECT, metadata=replace(SUBJECT.metadata, **fields))


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def section(card: str, title: str) -> str:
    return card.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code_of(card: str) -> str:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]


def test_the_front_matter_is_what_the_hub_searches() -> None:
    assert front_matter(model_card(SUBJECT)) == {
        "library_name": "senet",
        "pipeline_tag": "image-classification",
        "license": "mit",
        "tags": ["senet", "pytorch", "se_resnet50", "se"],
        "datasets": ["uoft-cs/cifar10"],
        "metrics": ["accuracy"],
    }


def test_what_is_not_known_is_not_said() -> None:
    metadata = WeightsMetadata("", config={"name": "resnet50", "options": OPTIONS | {"block": None}})
    card = model_card(replace(SUBJECT, metadata=metadata, license=None))
    assert front_matter(card).keys() == {"library_name", "pipeline_tag", "tags"}
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == ["Network", "Use", "Papers"]
    assert "None" not in card
    assert "| blocks | none |" in card
    assert "placement" not in card


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        (
            "Network",
            [
                "| network | `se_resnet50` |",
                "| blocks | `se` (reduction 16) |",
                "| placement | pre, in stages 3, 4 |",
                "| parameters | 28,088,024, of which the blocks have 2,530,992 |",
                "| multiply-accumulates | 3,869,000,000 for an image of 3 x 20 x 20 (3,860,000,000 without the blocks) |",
            ],
        ),
        ("Input", ["| channels | 3: red, green, blue |", "| mean of values in 0..1 | `0.4, 0.5, 0.6` |", "whose shorter side is 24 |"]),
        ("Classes", ["3, in the order of the logits: `cat`, `dog`, `eel`"]),
        ("Training", ["```yaml", "name: mine", "  name: cifar10"]),
        ("Evaluation", ["| epoch of the weights | 7 |", "| top-1 accuracy on the validation images (%) | 91.2346 |"]),
        ("Papers", ["[1512.03385](https://arxiv.org/abs/1512.03385)", "[1709.01507](https://arxiv.org/abs/1709.01507)"]),
    ],
)
def test_sections(title: str, lines: list[str]) -> None:
    text = section(model_card(SUBJECT), title)
    for line in lines:
        assert line in text


def test_a_card_of_another_task_speaks_of_its_metrics_and_of_no_class() -> None:
    error = Metric("error", "mean absolute error", "px", higher_is_better=False)
    extra = {"epoch": 7, "val_error": 1.25, "val_loss": 0.5, "val_metrics": [error.to_dict()]}
    card = model_card(with_metadata(classes=(), recipe={"task": "mine.py:create"}, extra=extra))
    assert front_matter(card).keys() == {"library_name", "license", "tags"}
    assert "| mean absolute error (lower is better) on the validation images (px) | 1.25 |" in section(card, "Evaluation")
    assert "val_metrics" not in card
    assert "    outputs = model((images - mean" in code_of(card)
    assert "argmax" not in card
    assert "## Classes" not in card


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"kind": "se", "hidden": 8}, "`se` (hidden 8)"),
        ({"kind": "scse", "combine": "max"}, "`scse` (reduction 2, combine max)"),
        ({"kind": "sse"}, "`sse` |"),
        ({"kind": "se", "reduction": {"3": 4, "4": 8}}, "`se` (reduction {'3': 4, '4': 8})"),
    ],
)
def test_blocks_with_their_options(block: dict, said: str) -> None:
    assert f"| blocks | {said}" in model_card(with_metadata(config={"name": "resnet50", "options": OPTIONS | {"block": block}}))


HOSTILE = "<script>a</script> ![x](http://b) [c](d) **e** `f` | g\n\n# h\n```\n<i> \x1b[31m\u202e"


def test_nothing_in_the_metadata_becomes_markup() -> None:
    recipe = {"name": HOSTILE, "about": "a\n````\n<script>", "data": {"name": HOSTILE}}
    extra = {HOSTILE: HOSTILE, "nested": {"<b>": ["<i>"]}}
    card = model_card(with_metadata(classes=(HOSTILE, "b", "c"), recipe=recipe, extra=extra))
    prose = re.sub(r"(?ms)^(`{3,})yaml\n.*?^\1$", "", card)
    without_code = re.sub(r"`[^`\n]*`", "", prose.partition("---\n\n")[2].replace(code_of(card), ""))
    assert not re.search(r"<(?!/?details>|/?summary>)", without_code)
    assert not re.search(r"(?<!\\)(!\[|\]\((?!https://arxiv)|\*\*)", without_code)
    assert [line for line in prose.splitlines() if line.startswith("# ")] == ["# net"]
    assert card.replace("\n", "").isprintable()
    assert yaml.safe_load(section(card, "Training").strip().strip("`").removeprefix("yaml")) is not None
    assert front_matter(card)["tags"][2] == "se_resnet50"


def test_an_own_block_is_named_without_its_folder() -> None:
    block = {"kind": "/home/me/blocks/eca.py:ECA", "kernel": 5}
    card = model_card(with_metadata(config={"name": "resnet50", "options": OPTIONS | {"block": block}}))
    assert "| blocks | `eca.py:ECA` (kernel 5) |" in card
    assert "eca.py:ECA" in front_matter(card)["tags"]
    assert "/home" not in card


def test_costs_are_those_of_the_network(hub: HubServer) -> None:
    model = senet.create_model("se_cifar_resnet20", num_classes=3)
    senet.push_to_hub(model, "user/net", input=INPUT)
    params = sum(parameter.numel() for parameter in model.parameters())
    of_blocks = sum(parameter.numel() for name, parameter in model.named_parameters() if ".se." in name)
    counted, plain = (senet.profile(net, (1, 3, 20, 20), latency=False).macs for net in (model, senet.create_model("cifar_resnet20")))
    head = 64 * 7  # the plain network has ten classes
    text = section(hub.files("user/net")["README.md"].decode(), "Network")
    assert f"| parameters | {params:,}, of which the blocks have {of_blocks:,} |" in text
    assert f"| multiply-accumulates | {counted:,} for an image of 3 x 20 x 20 ({plain - head:,} without the blocks) |" in text


def test_the_code_runs_as_printed(hub: HubServer, tmp_path: Path) -> None:
    """With all that a card may know, and with nothing; in one new process, which has neither a network nor a cache yet."""
    model = senet.create_model("se_cifar_resnet20", num_classes=3)
    with torch.no_grad():
        model.get_parameter("fc.bias").copy_(torch.tensor([0.0, 1e6, 0.0]))
    senet.push_to_hub(model, "user/known", classes=("cat", "dog", "eel"), input=INPUT)
    senet.push_to_hub(model, "user/unknown")
    codes = [code_of(hub.files(repo)["README.md"].decode()) for repo in ("user/known", "user/unknown")]
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    program = "\n".join(f"exec({code!r}, {{}})" for code in codes)
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["['dog', 'dog']", "[1, 1]"]


@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_the_code_prepares_images_as_the_network_expects_them(hub: HubServer, order: Literal["rgb", "bgr"]) -> None:
    senet.push_to_hub(senet.create_model("cifar_resnet20", num_classes=3), "user/net", input=replace(INPUT, order=order))
    code = code_of(hub.files("user/net")["README.md"].decode())
    assert {"rgb": "red first", "bgr": "blue first"}[order] in code
    seen: list[torch.Tensor] = []
    names: dict[str, Any] = {}
    hook = register_module_forward_pre_hook(lambda module, args: seen.append(args[0]))
    exec(code, names)
    hook.remove()
    channels = [(names["images"][:, c] - INPUT.mean[c]) / INPUT.std[c] for c in range(3)]
    torch.testing.assert_close(seen[0], torch.stack(channels, 1))


def test_grey_images() -> None:
    images = InputSpec(size=8, resize=8, channels=1, mean=(0.3,), std=(0.2,))
    card = model_card(replace(with_metadata(input=images), costs=replace(SUBJECT.costs, input_size=(1, 8, 8))))
    assert "| channels | 1: grey |" in card
    assert "torch.rand(2, 1, 8, 8)  # yours: values in 0..1\n" in card


def test_many_classes_are_folded_away() -> None:
    text = section(model_card(with_metadata(classes=tuple(f"class {i}" for i in range(1000)))), "Classes")
    assert text.startswith("\n<details><summary>1000, in the order of the logits</summary>\n\n`class 0`, `class 1`, ")
    assert "`class 999`" in text


def test_no_name_breaks_the_card() -> None:
    hostile = ("a`b", "line\n## Use\nbreak", "pipe|pipe", "<script>", "")
    card = model_card(with_metadata(classes=hostile, extra={"a|b\nc": "x|y\nz", "top1": float("nan")}))
    assert "`a'b`, `line ## Use break`, `pipe/pipe`, `<script>`" in card
    assert "| a/b c | x/y z |" in card
    assert re.findall(r"^## (.*)$", card, re.MULTILINE).count("Use") == 1
    assert front_matter(card)["metrics"] == ["accuracy"]


def test_a_network_of_another_library_says_so() -> None:
    plan = {"sites": [{"block": {"kind": "se", "reduction": 8}}, {"block": {"kind": "se", "reduction": 8}}]}
    card = model_card(with_metadata(config={"name": "timm/resnet50", "options": OPTIONS | {"block": None, "inserted": [plan]}}))
    assert "the network is built by `timm`, which is needed too" in card
    assert "| blocks | `se` (reduction 8) |" in card
    assert "| placement | inserted at 2 places |" in card


def test_every_network_has_one_paper() -> None:
    assert {name: found for name in senet.list_models() if len(found := papers(name)) != 1} == {}


@pytest.mark.parametrize(
    ("name", "kinds", "numbers"),
    [
        ("se_resnet50", ["se"], ["1512.03385", "1709.01507"]),
        ("senet154", ["se"], ["1709.01507"]),
        ("cmpe_se_wrn16_8", ["cmpe_se"], ["1605.07146", "1807.08920"]),
        ("scse_cifar_resnet20", ["scse"], ["1512.03385", "1803.02579"]),
        ("preresnet110", [], ["1603.05027"]),
        ("se_resnext50_32x4d", ["se"], ["1611.05431", "1709.01507"]),
        ("inception_resnet_v2", [], ["1602.07261"]),
        ("se_bn_inception", ["se"], ["1502.03167", "1709.01507"]),
        ("shufflenet_g3", [], ["1707.01083"]),
        ("se_mobilenet", ["se"], ["1704.04861", "1709.01507"]),
        ("vgg16_bn", [], ["1409.1556"]),
        ("shake_shake26_2x96d", [], ["1705.07485"]),
        ("timm/resnet50", ["sse"], ["1803.02579"]),
    ],
)
def test_papers(name: str, kinds: list[str], numbers: list[str]) -> None:
    assert [number for _, number in papers(name, kinds)] == numbers
