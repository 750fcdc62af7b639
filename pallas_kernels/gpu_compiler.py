"""Gives an interpreter without CUDA the compiler for NVIDIA GPUs; no GPU or driver is needed.

XLA's compiler for GPUs comes in two packages of jaxlib's version. They are fetched into a folder
of their own, which goes on PYTHONPATH of this command alone: JAX picks such a plugin up by itself
wherever it is installed, so the interpreter's own packages stay as they are.
"""

import importlib.metadata
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import jax

DEFAULT_FOLDER = pathlib.Path(sys.prefix).parent / ".gpu_compiler"
_PLUGIN = "jax_cuda13_plugin"
_PACKAGES = ("jax-cuda13-plugin", "jax-cuda13-pjrt")


def add_argument(parser) -> None:
    """The option --env."""
    parser.add_argument(
        "--env",
        type=pathlib.Path,
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="where the GPU compiler is kept; fetched when it is not there (140 MB)",
    )


def start(module: str, folder: pathlib.Path) -> None:
    """Makes this process able to compile for a GPU. Call it before JAX is asked for devices.

    jaxlib looks for plugins when it is imported. So where the interpreter has none, the process
    becomes a new one, `python -m module` with the same arguments and the plugin on its path.
    Exits with the reason where there is no such plugin to be had.
    """
    if importlib.util.find_spec(_PLUGIN) is None:
        try:
            packages = str(fetch(folder.resolve()))
        except (RuntimeError, OSError) as error:
            sys.exit(str(error))
        if packages in sys.path:
            sys.exit(f"{packages} holds no {_PLUGIN}. Delete it and try again.")
        path = os.environ.get("PYTHONPATH")
        changes = {
            "PYTHONPATH": packages + (os.pathsep + path if path else ""),
            "TF_CPP_MIN_LOG_LEVEL": "2",  # no remarks that without a GPU nothing can be tuned
        }
        arguments = [sys.executable, "-m", module, *sys.argv[1:]]
        os.execve(sys.executable, arguments, {**os.environ, **changes})
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # the CUDA libraries are not needed
    jax.config.update("jax_platforms", "cpu")  # where JAX itself runs


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder's packages for this jaxlib and Python; installs them where missing.

    Raises RuntimeError with what pip said if it fails; nothing half done is left behind.
    """
    version = importlib.metadata.version("jaxlib")
    packages = folder / f"{version}-{sys.implementation.cache_tag}"
    if packages.exists():
        return packages
    wanted = [f"{name}=={version}" for name in _PACKAGES]
    print(f"Fetching {' and '.join(wanted)} (about 140 MB) into {packages}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        unpacked = pathlib.Path(beside) / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        done = subprocess.run([*pip, unpacked, *wanted], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(
                f"pip could not install {' '.join(wanted)} (wheels exist for Linux): "
                f"{done.stderr.strip()}"
            )
        unpacked.rename(packages)
    return packages
