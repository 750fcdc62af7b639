"""What people type: astr match, astr demo, astr info, astr export.

Each command is a module with add_arguments, run, and a docstring that is its help.
"""

import argparse
import sys

import jax

from astr_jax.cli import demo, export, info, match

EXAMPLES = """\
examples:
  astr match left.jpg right.jpg --out matches.png --save matches.npz
  astr demo                              a pair with known geometry: how many matches are right
  astr info                              the weights that ship
  astr export RUN --out my.safetensors   the weights of a training run

astr COMMAND --help explains each, with examples.
"""


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="astr",
        description="ASTR matches two photographs of one scene: pixel correspondences, without "
        "keypoint detection.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for module in (match, demo, info, export):
        name = module.__name__.rpartition(".")[2]
        words, _, examples = module.__doc__.partition("\n\n")
        command = commands.add_parser(
            name,
            help=words.splitlines()[0].rstrip("."),
            description=words,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code.

    Bad input and too little memory become one line on stderr and the code 2; Ctrl-C gives 130.
    """
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except MemoryError:
        complain(out_of_memory(options))
        return 2
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        complain(out_of_memory(options))
        return 2
    except ModuleNotFoundError as error:
        complain(f"the package {error.name!r} is missing; pip install 'astr_jax[data]' has it.")
        return 2
    except OSError as error:
        file = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        complain(file)
        return 2
    except ValueError as error:
        complain(str(error))
        return 2
    return 0


def out_of_memory(options: argparse.Namespace) -> str:
    """What to say and what to do, for the command that ran."""
    if hasattr(options, "resize"):
        return f"the memory does not suffice; lower --resize, now {options.resize}."
    return "the memory does not suffice; close other programs, or take another machine."


def complain(message: str) -> None:
    """Writes one line to stderr."""
    print("astr: " + " ".join(message.split()), file=sys.stderr)
