"""Record what senet computes, bit by bit, and hold another version against it: `python -m benchmarks.behaviour record|check FILE`.

Only public names are used, so that the script runs on any version. Bits depend on the processor and on torch: both versions must run on
one machine. The digits run, a CIFAR-sized run with a running average and frozen BN, outputs and gradients of a network of every family,
insertion plans of the networks that the tests insert into, and the outputs of exported graphs are covered.
"""

import argparse
import hashlib
import json
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import senet
from senet.recipe import load_recipe

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

BLOCKS = ("", "se_", "sse_", "scse_", "cmpe_se_")
RESIDUAL = (
    "resnet18",
    "resnet50",
    "cifar_resnet20",
    "preresnet20",
    "preresnet164",
    "wrn16_8",
    "shake_shake26_2x32d",
    "shake_even29_2x4x64d",
)
OTHER = ("resnext50_32x4d", "vgg11_bn", "mobilenet", "shufflenet_g3", "bn_inception", "inception_resnet_v2")
PLACEMENTS = ("pre", "post", "identity", "inner")
EXPORTED = ("se_cifar_resnet20", "scse_preresnet20", "se_resnet18", "cmpe_se_cifar_resnet20", "se_mobilenet")

Digests = Iterator[tuple[str, str]]


def digest(*values: Tensor | str) -> str:
    """Return 16 hexadecimal digits of tensors and texts."""
    total = hashlib.sha256()
    for value in values:
        data = value.encode() if isinstance(value, str) else value.detach().contiguous().numpy().tobytes()
        total.update(data)
    return total.hexdigest()[:16]


def state_digest(model: nn.Module) -> str:
    """Return one digest of all names and tensors."""
    return digest(*(part for name, value in model.state_dict().items() for part in (name, value)))


def images_of(name: str) -> Tensor:
    """Return two images of the size that a network expects, smaller for the large ones."""
    side = 32 if name.rpartition("_")[2][:3] in ("wrn",) or any(part in name for part in ("cifar", "preresnet", "wrn", "shake")) else 96
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def networks() -> Digests:
    """Yield outputs, gradients and state of one network a family and block, in training and evaluation, fused and by the definition."""
    names = [prefix + name for name in RESIDUAL for prefix in BLOCKS]
    names += [prefix + name for name in OTHER for prefix in ("", "se_", "scse_")] + ["senet154"]
    cases = [(name, name, {}) for name in names if name in senet.list_models()]
    cases += [(f"se_{name} {place}", f"se_{name}", {"placement": place}) for name in RESIDUAL[:4] for place in PLACEMENTS]
    cases += [
        (f"scse_resnet18 {how}", "resnet18", {"block": senet.BlockSpec("scse", combine=how)}) for how in ("max", "multiply", "concat")
    ]
    variants = ("pair_2x1", "pair_1x1", "folded_3x3")
    cases += [(f"cmpe_se {variant}", "resnet18", {"block": senet.BlockSpec("cmpe_se", variant=variant)}) for variant in variants]
    for label, name, options in cases:
        for tails in ("reference", "cpp"):
            torch.manual_seed(0)
            model, images = senet.create_model(name, **options), images_of(name)
            with senet.backend(tails):
                torch.manual_seed(2)
                logits = model.train()(images)
                logits.square().mean().backward()
                gradients = [p.grad for p in model.parameters() if p.grad is not None]
                yield f"train {label} {tails}", digest(logits, *gradients)
                with torch.no_grad():
                    yield f"eval {label} {tails}", digest(model.eval()(images), state_digest(model))
        with torch.no_grad():
            yield f"optimised {label}", digest(senet.optimize(model)(images))


def runs(folder: Path) -> Digests:
    """Yield the weights and the metrics of training runs."""
    digits = {"training.epochs": 3, "data.workers": 0}
    noise = {
        "data.name": "cifar10",
        "data.root": str(noise_cifar(folder / "cifar")),
        "training.ema_decay": 0.9,
        "training.freeze_bn_epochs": 1,
    }
    small = {"schedule.warmup_steps": 0, "training.epochs": 2, "data.workers": 0, "model.name": "cifar_resnet20"}
    recipes = [
        ("digits plain", load_recipe("digits", digits)),
        ("digits se", load_recipe("digits", digits | {"model.block": "se"})),
        ("cifar se ema frozen", load_recipe("cifar10_preresnet110", small | noise)),
        ("cifar scse ema frozen", load_recipe("cifar10_preresnet110", small | noise | {"model.block": "scse", "model.reduction": None})),
    ]
    timed = ("seconds", "images_per_second")
    for label, recipe in recipes:
        place = folder / label.replace(" ", "_")
        senet.train(recipe, folder=place, progress=False)
        header, *rows = [line.split(",") for line in (place / "metrics.csv").read_text().splitlines()]
        kept = sorted((name, i) for i, name in enumerate(header) if name not in timed)
        yield f"metrics {label}", digest(*(f"{name}={row[i]}" for row in rows for name, i in kept))
        yield f"weights {label}", state_digest(senet.from_pretrained(place / "best.safetensors"))


def noise_cifar(root: Path) -> Path:
    """Write 300 images of noise as the canonical files of CIFAR-10."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = draw.integers(0, 10, 50)
        pixels = draw.integers(0, 200, (50, 3072), dtype=np.uint8) + (labels[:, None] * 5).astype(np.uint8)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels.tolist()}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}, protocol=2))
    return root


def plans() -> Digests:
    """Yield the insertion plans of the tests' networks."""
    from foreign.hosts import HOSTS  # pyright: ignore[reportMissingImports] - the tests' own, beside this folder

    for name, host in HOSTS.items():
        for block in ("se", "scse"):
            torch.manual_seed(0)
            model = host.make()
            senet_plan = senet.find_sites(model, block, at=host.at, existing="add")
            yield f"plan {name} {block}", digest(senet_plan.to_json())
            if block == "se" and host.size <= 64:
                senet.insert(model, senet_plan)
                with torch.no_grad():
                    found = model.eval()(host.images())
                tensors = [x for x in (found.values() if isinstance(found, dict) else [found]) if isinstance(x, Tensor)]
                yield f"inserted {name}", digest(*tensors)


def exported(folder: Path) -> Digests:
    """Yield what ONNX Runtime computes from exported networks."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name in EXPORTED:
        for optimised in (True, False):
            torch.manual_seed(0)
            path, images = folder / f"{name}{optimised}.onnx", images_of(name)
            senet.export_onnx(senet.create_model(name).eval(), path, images, optimize=optimised)
            session = onnxruntime.InferenceSession(path, options)
            outputs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
            yield f"exported {name} {optimised}", digest(*(torch.from_numpy(np.asarray(output)) for output in outputs))


def record(tell: Callable[[str], object]) -> dict[str, str]:
    """Return name -> digest of everything."""
    torch.set_num_threads(1)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in (lambda: runs(folder), networks, plans, lambda: exported(folder)):
            for label, value in part():
                tell(f"{value} {label}")
                found[label] = value
    return found


def main(argv: list[str] | None = None) -> int:
    """Record digests, or exit with 1 if one differs from the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=("record", "check"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args(argv)
    found = record(print)
    if arguments.task == "record":
        arguments.file.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    wanted = json.loads(arguments.file.read_text())
    differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    print(*(f"differs: {name}" for name in differing), f"{len(wanted) - len(differing)} of {len(wanted)} equal", sep="\n")
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
