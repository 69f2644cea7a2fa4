"""The model card of trained weights: what the network is, how to use it, what it was trained on, how good it is."""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

import yaml

from senet.publishing.papers import papers
from senet.publishing.public import public, public_text
from senet.publishing.subject import METRICS, Subject
from senet.results.metric import Metric
from senet.spec import known_options
from senet.text import printable, printable_lines

DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100"}
"""Our name of a data set -> the hub's."""

MEASURES = {"epoch": "epoch of the weights", "val_loss": "loss on the validation images"}
"""What the training loop writes beside the weights, besides the metrics -> what it is; other names stand for themselves."""

CLASSIFIED = "image-classification"
"""What the hub calls the task whose outputs are one logit a class."""

MARKS = re.compile(r"[\\`*\[\]!~]|(?<!\w)_|_(?!\w)")
"""Characters of Markdown that make something else of text in a line, where a backslash is not before them."""

LONGEST_CELL = 1000
"""Characters of one cell."""

FEW = 20
"""How many classes a card lists in a line; more are folded away."""


def model_card(subject: Subject) -> str:
    """Return the card: Markdown behind the YAML that the hub's search reads."""
    bodies = {title: body(subject) for title, body in SECTIONS.items()}
    sections = [f"## {title}\n\n{body}" for title, body in bodies.items() if body]
    return "\n\n".join([_front_matter(subject), f"# {subject.repo.partition('/')[2]}", *sections]) + "\n"


def _front_matter(subject: Subject) -> str:
    metadata = subject.metadata
    data: Mapping[str, Any] = (metadata.recipe or {}).get("data") or {}
    dataset = DATASETS.get(data.get("name", ""))
    accurate = ["accuracy", *(metric.name for metric in subject.metrics if metric.accuracy)]
    has_accuracy = any(word in name for name in metadata.extra for word in accurate)
    fields = {
        "library_name": "senet",
        "pipeline_tag": subject.pipeline,
        "license": subject.license,
        "tags": ["senet", "pytorch", subject.name, *dict.fromkeys(public_text(block["kind"]) for block in subject.blocks)],
        "datasets": [dataset] if dataset else None,
        "metrics": ["accuracy"] if has_accuracy else None,
    }
    return f"---\n{_yaml({name: value for name, value in fields.items() if value is not None})}\n---"


def _network(subject: Subject) -> str:
    costs = subject.costs
    of_blocks = f", of which the blocks have {costs.block_params:,}" if costs.block_params else ""
    without = f" ({costs.plain_macs:,} without the blocks)" if costs.plain_macs is not None else ""
    rows = {
        "network": _code(subject.name),
        "blocks": "; ".join(_block(block) for block in subject.blocks) or "none",
        "placement": _placement(subject) if subject.blocks else "",
        "parameters": f"{costs.params:,}{of_blocks}",
        "multiply-accumulates": f"{costs.macs:,} for an image of {' x '.join(map(str, costs.input_size))}{without}",
    }
    return f"{_table(('', ''), rows)}\n\n`config.json` has every option."


def _block(block: dict[str, Any]) -> str:
    kind = block["kind"]
    own = known_options(kind) or {}
    default = {"reduction": own["reduction"].default} if "reduction" in own and "hidden" not in block else {}
    options = ", ".join(f"{name} {value}" for name, value in (default | block).items() if name != "kind")
    return _code(public_text(kind)) + (f" ({_cell(options)})" if options else "")


def _placement(subject: Subject) -> str:
    options = subject.metadata.model["options"]
    inserted = sum(len(plan["sites"]) for plan in options.get("inserted", ()))
    if inserted:
        return f"inserted at {inserted} places"
    stages = options["stages"]
    return f"{options['placement']}, in " + ("all stages" if stages is None else f"stages {', '.join(map(str, stages))}")


def _use(subject: Subject) -> str:
    spec, classes = subject.metadata.input, subject.metadata.classes
    channels, height, width = subject.costs.input_size
    order = "" if spec is None or channels == 1 else f", {'blue' if spec.order == 'bgr' else 'red'} first"
    prepare = () if spec is None else (f"mean, std = torch.tensor({list(spec.mean)}), torch.tensor({list(spec.std)})",)
    prepared = "images" if spec is None else "(images - mean[:, None, None]) / std[:, None, None]"
    if subject.pipeline == CLASSIFIED:
        names = "[model.weights_metadata.classes[index] for index in best.tolist()]" if classes else "best.tolist()"
        answer = (f"    best = model({prepared}).argmax(1)", f"print({names})")
    else:
        answer = (f"    outputs = model({prepared})", "print(outputs)")
    code = (
        "import torch",
        "import senet",
        "",
        f'model = senet.from_pretrained("{subject.repo}")',
        f"images = torch.rand(2, {channels}, {height}, {width})  # yours: values in 0..1{order}",
        *prepare,
        "with torch.inference_mode():",
        *answer,
    )
    needed = "The package `senet` with its extra `hub` loads the weights"
    library = subject.name.partition("/")[0] if "/" in subject.name else ""
    also = f"; the network is built by `{library}`, which is needed too" if library else ""
    predict = "" if spec is None else f"\n\nOn files, with all of the preparation: `senet predict IMAGE --weights {subject.repo}`."
    return f"{needed}{also}.\n\n```python\n{chr(10).join(code)}\n```{predict}"


def _input(subject: Subject) -> str:
    spec = subject.metadata.input
    if spec is None:
        return ""
    order = {"rgb": "red, green, blue", "bgr": "blue, green, red"}[spec.order] if spec.channels == 3 else "grey"
    rows = {
        "size": f"{spec.size} x {spec.size}, the centre of an image whose shorter side is {spec.resize}",
        "channels": f"{spec.channels}: {order}",
        "mean of values in 0..1": _code(", ".join(map(str, spec.mean))),
        "standard deviation": _code(", ".join(map(str, spec.std))),
    }
    return _table(("", ""), rows)


def _classes(subject: Subject) -> str:
    names = subject.metadata.classes
    if not names:
        return ""
    listed = ", ".join(_code(name) for name in names)
    folded = f"<details><summary>{len(names)}, in the order of the logits</summary>\n\n{listed}\n\n</details>"
    return f"{len(names)}, in the order of the logits: {listed}" if len(names) <= FEW else folded


def _training(subject: Subject) -> str:
    recipe = subject.metadata.recipe
    if not recipe:
        return ""
    text = printable_lines(_yaml(recipe))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=2))  # nothing in the recipe can end the block
    return f"{fence}yaml\n{text}\n{fence}"


def _evaluation(subject: Subject) -> str:
    said: dict[str, str] = MEASURES | {metric.column: _meaning(metric) for metric in subject.metrics}
    extra: dict[str, Any] = public(subject.metadata.extra)
    numbers = {name: value for name, value in extra.items() if name != METRICS}
    return _table(("measure", "value"), {_cell(said.get(name, name)): _number(value) for name, value in numbers.items()})


def _meaning(metric: Metric) -> str:
    title, unit = metric.title + (" accuracy" if metric.accuracy else metric.direction), f" ({metric.unit})" if metric.unit else ""
    return f"{title} on the validation images{unit}"


def _papers(subject: Subject) -> str:
    found = papers(subject.name, (block["kind"] for block in subject.blocks))
    return "\n".join(f"- {title}, [{number}](https://arxiv.org/abs/{number})" for title, number in found)


SECTIONS = {
    "Network": _network,
    "Use": _use,
    "Input": _input,
    "Classes": _classes,
    "Training": _training,
    "Evaluation": _evaluation,
    "Papers": _papers,
}
"""Title -> what writes the section; one that has nothing to say is left out."""


def _table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    lines = [f"| {key} | {value} |" for key, value in rows.items() if value]
    return "\n".join([f"| {head[0]} | {head[1]} |", "|---|---|", *lines]) if lines else ""


def _code(text: str) -> str:
    """Set names that may hold anything as code, in one line."""
    return f"`{_line(text).replace('`', chr(39))}`"


def _cell(text: str) -> str:
    """Return text as Markdown shows it in one cell of a table: no tag, link, picture or emphasis comes of it."""
    return MARKS.sub(r"\\\g<0>", escape(_line(text), quote=False))


def _line(text: str) -> str:
    return printable(" ".join(text.split()), LONGEST_CELL).replace("|", "/")


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _cell(str(value))


def _yaml(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, width=120, allow_unicode=True).rstrip()
