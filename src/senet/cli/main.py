"""The `senet` command: a small dispatcher that imports nothing but the command asked for."""

import sys
import traceback
from importlib import import_module

from senet.cli.speaker import has_to_say
from senet.errors import UsageError, nearest
from senet.streams import drop, prepare_streams, say
from senet.text import message_line
from senet.userfile import allow_code, with_place

DONE, FAILED, WRONG_USAGE = 0, 1, 2

COMMANDS = {
    "compare": "train plain and recalibrated twins over seeds and report what the block buys",
    "train": "train a network by a recipe, or resume a run",
    "eval": "measure trained weights on validation images",
    "predict": "name what is in images",
    "models": "list the networks, with their parameters",
    "recipes": "list, show or copy the recipes that come with the package",
    "insert": "put blocks into any network, of timm, torchvision or your own, or show where they would go",
    "compress": "fold gates or prune channels of a trained network, and compare ways to do it after fine-tuning",
    "convert": "turn weights of timm, Caffe and others into a file of this package",
    "shards": "write image files as shards, tar files with an index, for training at scale, and check them",
    "coco": "write the boxes of a folder (Pascal VOC, YOLO, COCO) as COCO's JSON",
    "analyse": "say what the gates of trained weights do, what each block is worth, and which can go",
    "export": "write a network as ONNX, or for torch.export, for inference elsewhere, and check it",
    "allocate": "find hidden widths for all blocks of a trained network within a budget, and write the recipe that trains them",
    "profile": "count parameters and operations, and time a network against its plain twin",
    "bench": "time plain against recalibrated networks on this machine, by engine, and against other libraries",
    "doctor": "say what this machine has, what is missing for which extra, and whether a data folder is in order",
}


def usage() -> str:
    """Return the overview that `senet --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {about}" for name, about in COMMANDS.items()]
    return "\n".join(
        [
            "usage: senet COMMAND [options]",
            "",
            "Squeeze-and-Excitation on your own data: networks, training, evidence.",
            "",
            "commands:",
            *lines,
            "",
            "`senet COMMAND --help` tells the options of one; --debug shows the traceback of an error.",
            "Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + signal interrupted, 75 other processes lost (a run can be resumed).",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    name = f"senet {words[0]}" if words and words[0] in COMMANDS else "senet"
    try:
        try:
            return _command(words)
        finally:
            sys.stdout.flush()  # here, where output that nobody can take has a line and an exit code
    except BrokenPipeError:  # the reader of a pipe has all that it wanted: `senet models | head`
        drop(sys.stdout)
        return DONE
    except KeyboardInterrupt:
        say("interrupted", error=True)
        return 130
    except Exception as error:  # whatever it is, a user gets one line
        if debug:
            traceback.print_exc()
        expected = isinstance(error, UsageError) or hasattr(error, "exit_code")
        if has_to_say(error):
            say(message_line(f"{name}: {error if expected else _unforeseen(error)}"), error=True)
        if isinstance(error, OSError):
            drop(sys.stdout)  # what could not be written cannot be at the end, either
        return getattr(error, "exit_code", WRONG_USAGE if isinstance(error, UsageError) else FAILED)


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return DONE if words else WRONG_USAGE
    if words[0] == "--version":
        say(f"senet {import_module('senet').__version__}")
        return DONE
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}{nearest(name, COMMANDS)}; commands: {', '.join(COMMANDS)}")
    return _run(name, rest)


def _unforeseen(error: Exception) -> str:
    """Return the kind of an unforeseen error, its message, and where in a user's own file it happened."""
    return with_place(f"{type(error).__name__}: {error}", error)


def _run(name: str, words: list[str]) -> int:
    from senet.cli.arguments import command_parser

    command = import_module(f"senet.cli.{name}")
    parser = command_parser(f"senet {name}", COMMANDS[name])
    command.add_arguments(parser)
    args = parser.words(words)
    with allow_code(*getattr(args, "allow_code", ())):
        return command.run(args)


if __name__ == "__main__":
    sys.exit(main())
