"""A folder of ONNX graphs: written, checked against JAX, and read.

Needs the packages `onnx` to write and `onnxruntime` to check and to run; the extra "onnx" has both.
"""

import importlib.metadata
import json
import os
import pathlib
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

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

IMPLEMENTATIONS = ("gather", "dense")  # of the sparse attention, that have an ONNX graph
FORMAT = "astr_jax onnx 1"


def export_onnx(
    params: Params,
    folder: pathlib.Path,
    *,
    size: tuple[int, int],
    pair: tuple,
    implementation: str = "gather",
    half: bool = False,
    note: str = "",
) -> Exported:
    """Writes encode.onnx, coarse.onnx, fine.onnx, polish.onnx and match.onnx, of one size.

    size: height and width. pair: two pictures that ONNX Runtime and JAX must match alike, else the
    files are removed. half: weights are stored as float16. note: origin and terms of the weights.
    Raises ValueError, ModuleNotFoundError.
    """
    import onnx
    import onnxruntime  # noqa: F401  first of all: without it nothing could be checked

    from astr_jax.export.lowering.model import OPSET, to_onnx

    check_implementation(implementation, IMPLEMENTATIONS)
    params = named(params, implementation)
    programs = programs_of(params, size)
    about = {
        "format": FORMAT,
        "version": importlib.metadata.version("astr_jax"),
        "size": json.dumps(size),
        "weights": "float16" if half else "float32",
        "implementation": implementation,
        "opset": str(OPSET),
        "calibration": to_json(params.calibration),
        "licence": note,
    }
    folder.mkdir(exist_ok=True)
    files = []
    with removed_after_an_error(files):
        for name, program in programs.items():
            given = program.function, params.variables, program.inputs
            try:
                model = to_onnx(*given, half=half, name=name, metadata=about)
            except NotImplementedError as error:
                raise ValueError(
                    f"these weights have no ONNX graph: in {name}, {error}. --stablehlo takes any."
                ) from error
            files.append(folder / f"{name}.onnx")
            with replacing(files[-1]) as beside:
                onnx.save(model, beside)
        kept = halved(params.variables) if half else params.variables
        prepared = PreparedPair.of(*pair, size)
        given = dict(prepared.arrays()) | {"threshold": np.float32(params.calibration.threshold)}
        by_jax = jax.jit(programs[WHOLE].function)(kept, **given)
        agreement = compared(folder, prepared, given, by_jax)
        agreement.check(f"{folder / WHOLE}.onnx")
    return Exported(tuple(files), agreement)


def halved(variables: PyTree) -> PyTree:
    """Weights as they come back from float16: matrices and kernels are rounded, vectors stay."""
    return jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float16).astype(jnp.float32) if jnp.ndim(x) > 1 else x,
        variables,
    )


def compared(folder: pathlib.Path, pair: PreparedPair, given, by_jax) -> Agreement:
    """How ONNX Runtime matches a pair, by the whole graph and by the stages, beside what JAX found;
    the worse of both. given: what match.onnx takes."""
    graphs = OnnxGraphs(folder)
    found = [graphs.run(WHOLE, **given), by_stages(graphs, given)]
    return min(
        (Agreement.of(pair.as_given(x), pair.as_given(by_jax)) for x in found),
        key=lambda agreement: agreement.same,
    )


def by_stages(graphs: "OnnxGraphs", given: Mapping[str, np.ndarray], *, polish: object = True):
    """What match.onnx computes, graph by graph."""
    held = dict(given)
    for side in "01":
        found = graphs.run("encode", image=given[f"image{side}"], mask=given[f"mask{side}"])
        held |= {f"{name}_{side}": x for name, x in found.items()}
    for name in ("coarse", "fine", "polish")[: 3 if polish else 2]:
        held |= graphs.run(name, **held)
    if polish:
        held["keypoints1"] = held["polished_keypoints1"]
        held["covariance"] = held["polished_covariance"]
        if polish is True:
            held["valid"] = held["polished_valid"]
    names = "keypoints0", "keypoints1", "covariance", "scale"
    return {name: held[name] for name in (*names, "cell0", "cell1", "confidence", "valid")}


class OnnxGraphs:
    """The graphs of a folder, each loaded when it is first run, by ONNX Runtime on the CPU.

    Raises FileNotFoundError or ValueError for a folder that `astr export --onnx` did not write.
    """

    def __init__(self, folder: str | os.PathLike, threads: int = 0):
        self.folder, self._threads = pathlib.Path(folder), threads
        self._sessions = {}
        about = self._session(WHOLE).get_modelmeta().custom_metadata_map
        if about.get("format") != FORMAT:
            raise ValueError(
                f"{folder} holds graphs of another version ({about.get('format')!r}); write it "
                "anew with astr export --onnx."
            )
        self.about: Mapping[str, str] = about
        self.size: tuple[int, int] = tuple(json.loads(about["size"]))
        self.threshold: float = json.loads(about["calibration"])["threshold"]

    def run(self, name: str, **given) -> Mapping[str, np.ndarray]:
        """The outputs of a graph by name; what it does not take is left out."""
        session = self._session(name)
        feed = {x.name: np.asarray(given[x.name]) for x in session.get_inputs()}
        outputs = [x.name for x in session.get_outputs()]
        return dict(zip(outputs, session.run(outputs, feed), strict=True))

    def _session(self, name: str):
        import onnxruntime

        if name not in self._sessions:
            path = self.folder / f"{name}.onnx"
            if not path.is_file():
                raise FileNotFoundError(
                    f"There is no {path}: astr export --onnx {self.folder} writes it."
                )
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self._threads  # 0: as many as there are cores
            options.log_severity_level = 3
            self._sessions[name] = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[name]
