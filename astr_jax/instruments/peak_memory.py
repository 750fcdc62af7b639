"""The peak memory of one match, in a process of its own."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import jax
import numpy as np
from jaxtyping import UInt8

from astr_jax.matching import Matcher, MatchOptions
from astr_jax.params import load_params

STATUS = pathlib.Path("/proc/self/status")
CHILD = "from astr_jax.instruments import peak_memory; peak_memory.report()"


@dataclasses.dataclass(frozen=True)
class Peak:
    """MiB. Of the process: all that it holds in memory, with Python, JAX, the weights, both
    pictures and the compiled programs."""

    process: float
    before: float  # of the process, before the match: Python, JAX, weights and pictures
    device: float | None  # of the device, where JAX tells


def peak_of_match(
    weights: pathlib.Path,
    image0: UInt8[np.ndarray, "h w"],
    image1: UInt8[np.ndarray, "h1 w1"],
    compiled: pathlib.Path | None = None,
) -> Peak:
    """Starts a process that matches two pictures once, with scales="auto", at their full size.

    compiled: a folder of compiled programs, which it reads; else it compiles, in the same memory.
    Raises ChildProcessError where it fails.
    """
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    if compiled is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
    with tempfile.TemporaryDirectory(prefix="astr-bench-") as folder:
        pair = pathlib.Path(folder, "pair.npz")
        np.savez(pair, image0=image0, image1=image1)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(weights), str(pair)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise ChildProcessError(f"the match ended with code {done.returncode}: {last}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def report() -> None:
    """What the process does: matches, and prints its peaks as JSON."""
    weights, pair = sys.argv[1:]
    with np.load(pair) as file:
        pictures = file["image0"], file["image1"]
    params, device = load_params(weights), jax.local_devices()[0]
    matcher = Matcher(params, MatchOptions(resize=max(max(image.shape) for image in pictures)))
    before = process_peak()
    jax.block_until_ready(matcher.match(*map(matcher.encode, pictures)).valid)
    on_device = (device.memory_stats() or {}).get("peak_bytes_in_use")
    on_device = None if on_device is None else on_device / 2**20
    print(json.dumps(dataclasses.asdict(Peak(process_peak(), before, on_device))))


def process_peak() -> float:
    """The most that this process has had in memory so far, MiB.

    Linux counts it since the program began; what getrusage says there has the peak of the process
    that started this one in it.
    """
    if STATUS.exists():
        words = next(x for x in STATUS.read_text().splitlines() if x.startswith("VmHWM:")).split()
        return int(words[1]) / 2**10
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
