"""At which sizes two images are matched, and the matches of several put together.

A scale says how much larger things look in image 1: at scale 2 image 1 is made half as large before
it is matched, at scale 0.5 image 0 is. A first look, coarse and at half the size, says which scales
are worth it: where things differ in scale within the picture, as on a walk along a street, more
than one is.
"""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from astr_jax.types import Matches

AUTO = "auto"
FIRST_SCALES = (1.0, 2.0, 0.5)  # that the first look tries
LOOK_SIZE = 2  # how many times smaller the images are in the first look
POWER = 8  # of the confidences that are summed up to evidence: sure matches count
ENOUGH = 0.45  # of the surest scale's evidence: what makes another one worth matching too
MOST = 2  # scales of a pair


def shrinks(scale: float) -> tuple[int, int]:
    """How many times smaller image 0 and image 1 are matched at a scale, a power of two."""
    return (1, round(scale)) if scale >= 1 else (round(1 / scale), 1)


def check_scales(scales) -> tuple[float, ...] | None:
    """The scales asked for, each once; None for "auto". Raises ValueError."""
    if isinstance(scales, str):
        if scales != AUTO:
            raise ValueError(f'scales must be "auto", a number or several; got {scales!r}.')
        return None
    powers = 2.0 ** np.arange(-3, 4)
    try:
        found = np.atleast_1d(np.asarray(scales, float))
    except (TypeError, ValueError, OverflowError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found) or not np.isin(found, powers).all():
        raise ValueError(
            'scales must be "auto", or numbers among 1/8, 1/4, 1/2, 1, 2, 4, 8: how much larger '
            f"things look in image 1; got {scales!r}."
        )
    return tuple(dict.fromkeys(found.tolist()))


def further_scales(evidence: Mapping[float, float]) -> tuple[float, ...]:
    """What else is worth a look: a scale of 4 where 2 is surer than 1, and a quarter likewise."""
    return tuple(
        scale**2 for scale in (2.0, 0.5) if evidence.get(scale, 0) > evidence.get(1.0, np.inf)
    )


def chosen_scales(evidence: Mapping[float, float]) -> tuple[float, ...]:
    """The scales worth matching, the surest first, by what the first look says of each.

    Where nothing matches at all it is 1.
    """
    order = sorted(evidence, key=evidence.get, reverse=True)[:MOST]
    least = max(ENOUGH * evidence[order[0]], np.finfo(np.float32).tiny)
    return tuple(scale for scale in order if evidence[scale] >= least) or (1.0,)


def as_at_full_size(matches: Matches, scale: float, widths: tuple[int, int], full: int) -> Matches:
    """Matches found at a scale, with cells and scales of the images at their full working size.

    widths: coarse cells in a row of both images as they were matched; full: at full size.
    """
    if scale == 1:
        return matches
    cells = [
        np.where(cell < 0, -1, shrink * (cell // width * full + cell % width))
        for cell, width, shrink in zip(
            map(np.asarray, (matches.cell0, matches.cell1)), widths, shrinks(scale), strict=True
        )
    ]
    cell0, cell1 = (cell.astype(np.int32) for cell in cells)
    return matches.replace(cell0=cell0, cell1=cell1, scale=matches.scale * np.float32(scale))


def merged(found: Sequence[Matches], most: int | None) -> Matches:
    """The matches of one pair at several scales, sorted by confidence: of each coarse cell of
    image 0 the surest one. most: matches at most, None for all."""
    together = jax.tree.map(lambda *x: np.concatenate([np.asarray(a) for a in x]), *found)
    confidence = np.where(together.valid, together.confidence, -1.0)
    order = np.argsort(-confidence, kind="stable")
    _, first = np.unique(together.cell0[order], return_index=True)
    keep = np.zeros(len(order), bool)
    keep[first] = True
    keep &= together.valid[order]
    count = keep.sum() if most is None else min(keep.sum(), most)
    valid = np.arange(len(order)) < count
    together = jax.tree.map(lambda x: x[np.concatenate([order[keep], order[~keep]])], together)

    def kept(x, empty=0):
        there = valid.reshape(valid.shape + (1,) * (x.ndim - 1))
        return np.where(there, x, np.asarray(empty, x.dtype))

    cells = {name: kept(getattr(together, name), -1) for name in ("cell0", "cell1")}
    return jax.tree.map(kept, together).replace(valid=valid, **cells)


def surest(found: Sequence[Matches]) -> Matches:
    """Row by row the surest of the matches of the same points at several scales."""
    confidence = np.stack([np.where(m.valid, m.confidence, -1.0) for m in found])
    best, rows = confidence.argmax(axis=0), np.arange(confidence.shape[1])
    return jax.tree.map(lambda *x: np.stack([np.asarray(a) for a in x])[best, rows], *found)
