"""Weights on disk: safetensors, with configuration, calibration and a note in the header."""

import dataclasses
import json
import os
import pathlib

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import PyTree

from astr_jax.config import ModelConfig, from_json, to_json
from astr_jax.files import replacing
from astr_jax.layers.backbone import MaskedBatchNorm
from astr_jax.models.kinds import init_variables
from pallas_kernels.arrays import Array

SHIPPED = ("tiny",)  # weights that come with the package, the best last
WEIGHTS = pathlib.Path(__file__).with_name("weights")  # where they lie
FORMAT = "astr_jax"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """What calibration on held-back pairs found; 1, 1 and 0.2 say that none was done."""

    temperature: float = 1.0  # multiplies the temperature of the final dual softmax
    sigma_factor: float = 1.0  # multiplies sigma
    threshold: float = 0.2  # default confidence threshold

    def __post_init__(self):
        if not (self.temperature > 0 and self.sigma_factor > 0 and 0 <= self.threshold < 1):
            raise ValueError(
                "A calibration needs temperature > 0, sigma_factor > 0 and a threshold in [0, 1); "
                f"got {self}."
            )


@flax.struct.dataclass
class Params:
    """Weights with all that is needed to run them. A pytree: leaves are arrays; the rest is static.

    variables is what Flax's apply takes. Two sets of weights of one configuration and calibration
    run through the same compiled programs.
    """

    variables: PyTree
    config: ModelConfig = flax.struct.field(pytree_node=False)
    calibration: Calibration = flax.struct.field(pytree_node=False, default=Calibration())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a weights file says of itself."""

    config: ModelConfig
    calibration: Calibration
    note: str  # where the weights come from, and their terms


def find_weights(name: str | os.PathLike | None = None) -> pathlib.Path:
    """The weights file of a name: shipped weights, or a path; None: the best that ship. Raises
    FileNotFoundError."""
    name = SHIPPED[-1] if name is None else name
    shipped = str(name) in SHIPPED
    path = WEIGHTS / f"{name}.safetensors" if shipped else pathlib.Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} is neither shipped weights ({', '.join(SHIPPED)}) nor a file."
        )
    return path


def save_params(
    path: str | os.PathLike, params: Params, *, note: str = "", dtype: str = "float32"
) -> None:
    """Writes a weights file, beside and then renamed, so that no half-written one is ever seen.

    note: where the weights come from, and their terms. dtype "bfloat16" halves the size of kernels;
    vectors (norms, biases) stay float32. Folded weights stay folded, for inference alone.
    """
    flat = flax.traverse_util.flatten_dict(params.variables, sep="/")
    tensors = {
        name: np.asarray(x, dtype=jnp.dtype(dtype) if x.ndim > 1 else np.float32)
        for name, x in flat.items()
    }
    header = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": to_json(params.config),
        "calibration": to_json(params.calibration),
        "note": note,
    }
    with replacing(path) as beside:
        beside.write_bytes(_sorted_metadata(safetensors.numpy.save(tensors, metadata=header)))


def _sorted_metadata(file: bytes) -> bytes:
    """The safetensors file with its metadata in the order of the alphabet, so that the same weights
    are the same bytes: the library orders the arrays, but the metadata anew at each call."""
    end = 8 + int.from_bytes(file[:8], "little")
    header = json.loads(file[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows by spaces
    return len(text).to_bytes(8, "little") + text + file[end:]


def load_params(path: str | os.PathLike, *, fold: bool = True) -> Params:
    """Reads a weights file, as float32; fold: merge batch norm into the convolutions, for
    inference; else it must still be there, to train on.

    Raises FileNotFoundError, or ValueError for a file that is damaged, of another project, of a
    later format version, or (but for what ships) whose arrays are not those of its configuration.
    """
    header, path = read_header(path), pathlib.Path(path)
    if header.config.backbone.folded and not fold:
        raise ValueError(
            f"{path} holds weights whose batch norm is folded: they cannot be trained on. Take "
            "unfolded ones, such as astr export --unfolded writes."
        )
    with safetensors.safe_open(path, framework="flax") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors = {name: jnp.asarray(x, jnp.float32) for name, x in tensors.items()}
    for name, x in tensors.items():
        if not np.isfinite(np.asarray(x)).all():
            raise ValueError(f"{path}: {name} holds NaN or infinity; the file is no good.")
    if path.parent != WEIGHTS:  # the tests have checked what ships; it takes over a second
        check_arrays(path, tensors, header.config)
    variables = flax.traverse_util.unflatten_dict(tensors, sep="/")
    params = Params(variables, header.config, header.calibration)
    return fold_params(params) if fold else params


def read_header(path: str | os.PathLike) -> Header:
    """Reads what a weights file says of itself, without its arrays. Raises as load_params does."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path}.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}.") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} does not hold ASTR weights: its header has no {FORMAT!r} format.")
    try:
        version = int(header["format_version"])
        if version > FORMAT_VERSION:
            raise ValueError(
                f"the file has format version {version}; this astr_jax reads up to "
                f"{FORMAT_VERSION}. Update astr_jax."
            )
        return Header(
            config=from_json(ModelConfig, header["config"]),
            calibration=from_json(Calibration, header["calibration"]),
            note=header.get("note", ""),
        )
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: the header is damaged ({error!r}).") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def check_arrays(path: pathlib.Path, tensors: dict[str, Array], config: ModelConfig) -> None:
    """Raises ValueError unless the arrays are those that the configuration asks for."""
    wanted = jax.eval_shape(lambda: init_variables(config, jax.random.key(0)))
    wanted = flax.traverse_util.flatten_dict(wanted, sep="/")
    for name in sorted(wanted.keys() | tensors.keys()):
        want, have = (d[name].shape if name in d else None for d in (wanted, tensors))
        if want != have:
            want, have = ("nothing" if s is None else s for s in (want, have))
            raise ValueError(
                f"{path} does not fit its own configuration: {name} should be {want}, and is "
                f"{have}. Was the file edited?"
            )


def fold_params(params: Params) -> Params:
    """Merges every batch norm into the convolution before it: the same outputs, fewer operations.

    y = (conv(x) - mean) g + bias with g = scale / sqrt(var + eps) becomes conv(x; kernel g) + b.
    """
    if params.config.backbone.folded:
        return params
    # In NumPy: JAX would compile a program for each shape.
    stats, flat = (
        {name: np.asarray(x) for name, x in flax.traverse_util.flatten_dict(tree).items()}
        for tree in (params.variables["batch_stats"], params.variables["params"])
    )
    for owner in {name[:-2] for name in stats}:  # (..., "norm", "mean") belongs to (..., "conv")
        scale, bias = (flat.pop((*owner, "norm", leaf)) for leaf in ("scale", "bias"))
        mean, var = (stats[(*owner, "norm", leaf)] for leaf in ("mean", "var"))
        gain = scale / np.sqrt(var + np.float32(MaskedBatchNorm.epsilon))
        kernel = flat[(*owner, "conv", "kernel")]
        flat[(*owner, "conv", "kernel")] = kernel * gain[None, None, None]
        flat[(*owner, "conv", "bias")] = bias - mean * gain
    config = dataclasses.replace(
        params.config, backbone=dataclasses.replace(params.config.backbone, folded=True)
    )
    variables = {"params": jax.tree.map(jnp.asarray, flax.traverse_util.unflatten_dict(flat))}
    return params.replace(variables=variables, config=config)
