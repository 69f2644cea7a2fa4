"""`senet insert`: put blocks into any network, or show where they would go."""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from senet.cli.arguments import CommandParser, add_code, add_json, check_free
from senet.errors import UsageError
from senet.recipe import parse_yaml
from senet.spec import KINDS, PLACEMENTS, BlockSpec, Recalibration

if TYPE_CHECKING:
    from torch import nn

    from senet.insertion.plan import InsertPlan


def add_arguments(parser: CommandParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", help="a name of `senet models`, timm/NAME, torchvision/NAME, or path/to/file.py:factory (runs that file)")
    parser.add_argument("--block", default="se", help=f"kind of block: {', '.join(KINDS)}; or '{{kind: scse, combine: max}}'")
    parser.add_argument("--placement", default="standard", choices=PLACEMENTS, help="where the block sits in its unit")
    parser.add_argument("--reduction", help="reduction ratio, one number or '{3: 8, 3_4: 16}' by stage or unit")
    parser.add_argument("--stages", help="keep the sites of these stages, such as 4,5")
    parser.add_argument("--paths", help="keep the sites whose path this regular expression finds")
    parser.add_argument("--limit", type=int, help="keep the first so many sites")
    parser.add_argument(
        "--at", help="put blocks behind the modules whose whole path matches this regular expression, instead of finding sites"
    )
    parser.add_argument("--parts", help="keep the sites of these parts of an encoder-decoder network: encoder,bottleneck,decoder")
    parser.add_argument("--existing", default="skip", choices=("skip", "add"), help="what to do with units that recalibrate already")
    parser.add_argument("--weights", help="weights of the plain network, loaded first")
    parser.add_argument("--init", choices=("paper", "identity"), help="how blocks start; default: identity with --weights, else paper")
    parser.add_argument("--num-classes", type=int, help="width of the head")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and change nothing")
    parser.add_argument("--output", help="write the network to FILE.safetensors, or the plan to FILE.json")
    add_code(parser)
    add_json(parser)


def run(args: Namespace) -> int:
    """Plan, and unless it is a dry run, insert, prove and write."""
    from senet.cli.printing import show
    from senet.insertion.insert import insert
    from senet.insertion.sites import plan_sites
    from senet.models.create import create_model
    from senet.weights.load import load_weights

    _check_output(args)
    model = create_model(args.model, num_classes=args.num_classes, block=_block_of_host(args.model))
    if args.weights:
        load_weights(model, args.weights)
    plan = plan_sites(model, _recalibration(args), existing=args.existing, at=args.at, parts=args.parts and args.parts.split(","))
    if args.paths is not None or args.limit is not None:
        plan = plan.keep(paths=args.paths, limit=args.limit)
    if not args.dry_run:
        plan = insert(model, plan, init=args.init or ("identity" if args.weights else "paper"))
        if args.output:
            _write(args.output, model, plan)
    show(plan, as_json=args.json)
    return 0


def _recalibration(args: Namespace) -> Recalibration:
    tree: Any = parse_yaml(args.block, "--block") if args.block.startswith("{") else {"kind": args.block}
    if args.reduction is not None:
        tree["reduction"] = parse_yaml(args.reduction, "--reduction")
    return Recalibration(BlockSpec.from_dict(tree), args.placement, _stages(args.stages))


def _block_of_host(name: str) -> str | None:
    """Return what `create_model` is told of blocks: a name of the zoo may have a prefix, which stays."""
    from senet.models.foreign import is_foreign

    return None if is_foreign(name) else "auto"


def _stages(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(number) for number in text.strip("[]()").split(","))
    except ValueError:
        raise UsageError(f"--stages wants numbers such as 4,5, got {text!r}") from None


def _check_output(args: Namespace) -> None:
    if args.output and args.dry_run:
        raise UsageError("--dry-run writes nothing: leave out --output, or --dry-run")
    if args.output and Path(args.output).suffix not in (".json", ".safetensors"):
        raise UsageError(f"--output must end in .safetensors (the network) or .json (the plan), got {args.output!r}")
    if args.output:
        check_free(args.output, force=True)


def _write(path: str, model: "nn.Module", plan: "InsertPlan") -> None:
    from senet.atomic import write_text
    from senet.weights.store import save_weights

    if Path(path).suffix == ".json":
        write_text(path, plan.to_json())
    else:
        save_weights(model, path)
