"""What people type: astr, the map of all commands.

A command is a module of this folder, found by its name: `astr match` is cli/match.py, `astr eval
pairs` is cli/eval/pairs.py. Its docstring is its help; add_arguments names its options; run does
the work. It is imported when it is asked for, so that `astr match` needs no package of training.
"""

import argparse
import ast
import contextlib
import errno
import importlib
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator

GROUPS = {  # in the order of the map
    "": (
        *("match", "demo", "info", "bench", "warm", "export"),
        *("train", "curves", "adapt"),
        *("reconstruct", "pairs", "match-pairs", "tracks", "database", "localise"),
    ),
    "eval": (
        *("pairs", "megadepth1500", "scannet1500", "hpatches", "colmap"),
        *("aachen", "inloc", "table", "compare", "page"),
        *("tracks", "places", "sweep", "phases", "gallery", "calibrate", "covariance", "scaling"),
        *("spots", "model", "runtimes", "localise", "store", "bulk"),
    ),
    "data": ("sheet", "worlds", "pack", "pack-scenes", "check"),
}
TITLES = {
    "": "match, train and reconstruct",
    "eval": "measure, draw and calibrate matchers",
    "data": "look at what is trained on",
}
EXAMPLES = """\
examples:
  astr match left.jpg right.jpg --out matches.png --save matches.npz
  astr demo                                       a pair with known geometry: how many are right
  astr train tiny --photos DIR --workdir RUN      weights of your own
  astr eval pairs DIR --out report.json           scores on pairs with known geometry
  astr data sheet --photos DIR --out sheet.png    what a training sees
  astr reconstruct PHOTOS --out DIR               a COLMAP model of a folder of photographs

astr COMMAND --help explains each, with examples.
"""
EXTRAS = {  # packages that some commands need -> the extra that has them
    **dict.fromkeys(("cv2", "h5py", "optax", "orbax", "tensorboardX"), "data"),
    **dict.fromkeys(("poselib", "scipy"), "eval"),
    "pycolmap": "sfm",
    "ray": "ray",
    **dict.fromkeys(("onnx", "onnxruntime"), "onnx"),
    **dict.fromkeys(("tensorflow_datasets", "array_record", "grain"), "tables"),
}


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code.

    Bad input and too little memory become one line on stderr and the code 2; Ctrl-C gives 130.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    group = words.pop(0) if words and words[0] in GROUPS else ""
    if not words or words[0] in ("-h", "--help"):
        print(the_map(group))
        return 0 if words else 2
    name = words.pop(0)
    title = f"astr {group} {name}".replace("  ", " ")
    if name not in GROUPS[group]:
        known = ", ".join([*GROUPS[group], *(() if group else filter(None, GROUPS))])
        complain(f"there is no command {title!r}. There are: {known}.")
        return 2
    module, options = None, argparse.Namespace()
    try:
        module = importlib.import_module(module_of(group, name))
        options = parser(module, title).parse_args(words)
        if "jax" in sys.modules:
            importlib.import_module("astr_jax.compiled").keep_compiled()
        with notices(title):
            module.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        if hasattr(module, "GOES_ON"):
            complain(f"stopped{module.GOES_ON}.", title)
        return 130
    except MemoryError:
        complain(out_of_memory(options), title)
        return 2
    except ModuleNotFoundError as error:
        complain(what_is_missing(error.name or str(error), group), title)
        return 2
    except BrokenPipeError:  # whoever read it wants no more
        forget_stdout()
        return 141
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO) and not error.filename:
            forget_stdout()
        file = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        complain(file, title)
        return 2
    except (ValueError, FloatingPointError, ImportError) as error:
        complain(str(error), title)
        return 2
    except RuntimeError as error:  # what JAX raises
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        complain(out_of_memory(options), title)
        return 2
    return 0


@contextlib.contextmanager
def notices(title: str) -> Iterator[None]:
    """Prints what is said of images as a line each, the same line once."""
    from astr_jax.images import ImageWarning

    said = set()
    with warnings.catch_warnings():
        warnings.simplefilter("default", ImageWarning)
        as_usual = warnings.showwarning

        def show(message, category, *place, **options):
            if issubclass(category, ImageWarning):
                if str(message) not in said:
                    complain(str(message), title)
                said.add(str(message))
            else:
                as_usual(message, category, *place, **options)

        warnings.showwarning = show
        yield


def forget_stdout() -> None:
    """Lets Python end in peace where stdout takes nothing any more."""
    with contextlib.suppress(OSError, AttributeError), open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())


def module_of(group: str, name: str) -> str:
    """The module of a command."""
    return ".".join(filter(None, (__name__, group, name.replace("-", "_"))))


def parser(module: types.ModuleType, title: str) -> argparse.ArgumentParser:
    """The options of a command, and its docstring as the help."""
    words, _, examples = module.__doc__.partition("\n\n")
    command = argparse.ArgumentParser(
        prog=title,
        description=words,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(command)
    return command


def the_map(group: str) -> str:
    """All commands, or those of a group, with a line each, read without importing them."""
    lines = []
    for part in [group] if group else GROUPS:
        lines.append(f"{TITLES[part]}:")
        for name in GROUPS[part]:
            typed = f"{part} {name}".strip()
            lines.append(f"  astr {typed:<20} {first_line(module_of(part, name))}")
        lines.append("")
    head = "ASTR matches two photographs of one scene: pixel correspondences, without keypoint"
    end = f"astr {group} COMMAND --help explains each, with examples." if group else EXAMPLES
    return "\n".join([f"{head} detection.\n", *lines, end.rstrip()])


def first_line(module: str) -> str:
    """The first line of a module's docstring, read from its file."""
    with open(importlib.util.find_spec(module).origin, encoding="utf-8") as file:
        return ast.get_docstring(ast.parse(file.read())).splitlines()[0].rstrip(".")


def what_is_missing(module: str, group: str) -> str:
    """Words for a package that is not installed, and for what has it."""
    extra = EXTRAS.get(module.split(".")[0])
    if extra is None:
        return f"the package {module!r} is missing."
    extra = "eval" if group == "eval" and extra == "data" else extra  # which has cv2 and h5py too
    return f"the package {module!r} is missing; pip install 'astr_jax[{extra}]' has it."


def out_of_memory(options: argparse.Namespace) -> str:
    """What to say and what to do, for the command that ran."""
    if getattr(options, "resize", None) is not None:
        return f"the memory does not suffice; lower --resize, now {options.resize}."
    return "the memory does not suffice; close other programs, or take another machine."


def complain(message: str, title: str = "astr") -> None:
    """Writes one line to stderr."""
    print(f"{title}: " + " ".join(message.split()), file=sys.stderr)
