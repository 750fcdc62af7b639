"""What the page web/ needs beside its own files: graphs, what is known of them, and an example."""

import json
import pathlib
import shutil
import tempfile
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from astr_jax.export.exported import Exported
from astr_jax.export.onnx_files import export_onnx
from astr_jax.export.onnx_matcher import OnnxMatcher
from astr_jax.files import replacing
from astr_jax.params import Params
from astr_jax.types import Matches

GRAPHS = ("encode", "coarse", "fine", "polish")  # by stages, so that the page can say how it goes
ABOUT, EXAMPLE = "about.json", "example.json"
PICTURES = ("left.png", "right.png")


def export_web(
    params: Params,
    folder: pathlib.Path,
    *,
    size: tuple[int, int],
    pair: tuple,
    example: Sequence[UInt8[np.ndarray, "h w 3"]],
    implementation: str = "gather",
    half: bool = False,
    note: str = "",
) -> Exported:
    """Writes the graphs of the stages, about.json, and the example: left.png, right.png, and
    example.json, the matches that the page must find in them.

    The arguments are those of export_onnx. example: two pictures of one scene. Raises ValueError,
    ModuleNotFoundError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="astr-web-") as place:
        made = pathlib.Path(place, "graphs")
        given = {"size": size, "pair": pair, "implementation": implementation, "half": half}
        done = export_onnx(params, made, note=note, **given)
        matcher = OnnxMatcher(made)
        files = [folder / f"{name}.onnx" for name in GRAPHS]
        for file in files:
            with replacing(file) as beside:
                shutil.copyfile(made / file.name, beside)
    for name, picture in zip(PICTURES, example, strict=True):
        files.append(folder / name)
        with replacing(files[-1]) as beside:
            Image.fromarray(picture).save(beside, optimize=True)
    about = matcher.graphs.about
    known = {
        "version": about["version"],
        "size": size,
        "threshold": matcher.graphs.threshold,
        "weights": about["weights"],
        "licence": note,
        "graphs": {name: (folder / f"{name}.onnx").stat().st_size for name in GRAPHS},
    }
    for name, held in ((ABOUT, known), (EXAMPLE, as_lists(matcher.match(*example)))):
        files.append(folder / name)
        with replacing(files[-1]) as beside:
            beside.write_text(json.dumps(held) + "\n")
    return Exported(tuple(files), done.agreement)


def as_lists(matches: Matches) -> dict[str, list]:
    """Points, sigma and confidence of compact matches, fit for JSON."""
    names = "keypoints0", "keypoints1", "sigma", "confidence"
    return {name: np.asarray(getattr(matches, name)).astype(float).tolist() for name in names}
