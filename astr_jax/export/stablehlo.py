"""StableHLO by jax.export: files that JAX alone reads and runs, on CPUs, NVIDIA's GPUs and TPUs."""

import functools
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Callable, Mapping

import jax
import numpy as np
from jax import export

from astr_jax.config import to_json
from astr_jax.export.agreement import Agreement
from astr_jax.export.exported import (
    WHOLE,
    Exported,
    check_implementation,
    removed_after_an_error,
)
from astr_jax.export.pairs import PreparedPair
from astr_jax.export.programs import named, programs_of
from astr_jax.files import replacing
from astr_jax.params import Params

IMPLEMENTATIONS = ("gather", "dense", "segment_sum")  # plain XLA, on any device
PLATFORMS = ("cpu", "cuda", "tpu")


def export_stablehlo(
    params: Params,
    folder: pathlib.Path,
    *,
    size: tuple[int, int],
    pair: tuple,
    implementation: str = "gather",
    note: str = "",
) -> Exported:
    """Writes encode.jax, coarse.jax, fine.jax, polish.jax and match.jax, and about.json.

    Each is one function of arrays by name, with the weights inside. pair: two pictures that the
    file read back must match as before. Raises ValueError.
    """
    check_implementation(implementation, IMPLEMENTATIONS)
    params = named(params, implementation)
    programs = programs_of(params, size)
    folder.mkdir(exist_ok=True)
    files = []
    with removed_after_an_error(files):
        for name, program in programs.items():
            closed = functools.partial(program.function, params.variables)
            exported = export.export(jax.jit(closed), platforms=PLATFORMS)(**program.inputs)
            files.append(folder / f"{name}.jax")
            with replacing(files[-1]) as beside:
                beside.write_bytes(exported.serialize())
        prepared = PreparedPair.of(*pair, size)
        threshold = np.float32(params.calibration.threshold)
        given = dict(prepared.arrays()) | {"threshold": threshold}
        one = jax.jit(programs[WHOLE].function)(params.variables, **given)
        other = export.deserialize((folder / f"{WHOLE}.jax").read_bytes()).call(**given)
        agreement = Agreement.of(prepared.as_given(other), prepared.as_given(one))
        agreement.check(f"{folder / WHOLE}.jax")
    about = {
        "version": importlib.metadata.version("astr_jax"),
        "jax": jax.__version__,
        "size": size,
        "platforms": PLATFORMS,
        "implementation": implementation,
        "calibration": json.loads(to_json(params.calibration)),
        "licence": note,
    }
    files.append(folder / "about.json")
    with replacing(files[-1]) as beside:
        beside.write_text(json.dumps(about, indent=1) + "\n")
    return Exported(tuple(files), agreement)


def read_stablehlo(folder: str | os.PathLike) -> tuple[tuple[int, int], Callable[..., Mapping]]:
    """Height and width of the programs of a folder, and the whole match, a function of image0,
    image1, mask0, mask1 and threshold. Raises FileNotFoundError."""
    folder = pathlib.Path(folder)
    for file in (folder / "about.json", folder / f"{WHOLE}.jax"):
        if not file.is_file():
            raise FileNotFoundError(
                f"There is no {file}: astr export --stablehlo {folder} writes it."
            )
    height, width = json.loads((folder / "about.json").read_text())["size"]
    program = export.deserialize((folder / f"{WHOLE}.jax").read_bytes())
    return (height, width), jax.jit(program.call)
