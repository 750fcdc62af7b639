"""Which database images a query is matched with: those that look most like it."""

import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Float, Int

from astr_jax.files import replacing
from astr_jax.params import Params
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.pipeline import stamp_of
from astr_jax.reconstruction.retrieval import describe, similarity

CHUNK = 64  # photographs after which descriptors are written


def described(
    params: Params,
    photos: Sequence[Photo],
    file: str | os.PathLike,
    *,
    weights: str,
    on_image: Callable[[int], None] = lambda count: None,
) -> Float[np.ndarray, "n c"]:
    """The descriptors of photographs, kept in a file, which grows from its beginning.

    weights: a digest of them. on_image hears of so many more that are done.
    """
    states = [(photo.name, photo.path.stat().st_size) for photo in photos]
    stamps = [stamp_of("descriptors 1", weights, state) for state in states]
    found = _read(file, stamps)
    on_image(len(found))
    for start in range(len(found), len(photos), CHUNK):
        paths = [photo.path for photo in photos[start : start + CHUNK]]
        new = describe(params, paths, lambda: on_image(1))
        found = np.concatenate([found.reshape(-1, new.shape[1]), new])
        header = {"stamps": " ".join(stamps[: len(found)])}
        with replacing(file) as beside:
            beside.write_bytes(safetensors.numpy.save({"descriptors": found}, metadata=header))
    return found


def _read(file: str | os.PathLike, stamps: Sequence[str]) -> np.ndarray:
    """Those that are there and right, from the first on."""
    if not pathlib.Path(file).is_file():
        return np.zeros((0, 0), np.float32)
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            known = opened.metadata()["stamps"].split()
            found = opened.get_tensor("descriptors")
    except (safetensors.SafetensorError, KeyError, TypeError):
        return np.zeros((0, 0), np.float32)
    same = [a == b for a, b in zip(known, stamps, strict=False)]
    return found[: same.index(False) if False in same else len(same)]


def most_similar_views(
    database: Float[np.ndarray, "n c"], queries: Float[np.ndarray, "m c"], *, most: int
) -> Int[np.ndarray, "m v"]:
    """Of each query the numbers of the `most` database images that look most like it, in order."""
    if most < 1:
        raise ValueError(f"most must be at least 1; got {most}.")
    alike = similarity(database, queries)
    return np.argsort(-alike, axis=1, kind="stable")[:, :most]
