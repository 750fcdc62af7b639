"""Whether the matches of a pair show one place: a probability, from the matches alone.

Right matches keep together: about each of them, those near it in image 0 lie in image 1 as an
affine map lays them. Matches of two places scatter, or keep together in small groups alone. So the
evidence is what share of the matches fits its neighbours, and how many matches there are; the score
is a logistic function of it.
"""

import numpy as np
from jaxtyping import Float

EVIDENCE = ("fitting", "number")  # the share of fitting matches; log(1 + number of matches)
# Of the evidence, and what is added: fitted by `astr eval places --fit` (docs/results.md).
WEIGHTS = np.array([4.61, 2.63, -12.25])
MOST = 400  # matches that are looked at, the surest
NEIGHBOURS = 6  # that an affine map is fitted to
FEWEST = 8  # matches: fewer say nothing of their neighbours
MISS = 0.3  # of neighbours to their affine map, as a share of their spread: those below fit


def pair_score(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    confidence: Float[np.ndarray, " k"],
) -> float:
    """How probably both pictures show one place, where half of the pairs do; 0 without matches."""
    return probability(evidence(points0, points1, confidence))


def probability(evidence: Float[np.ndarray, " e"]) -> float:
    """The score of some evidence; 0 for that of no match."""
    if not evidence.any():
        return 0.0
    return float(1.0 / (1.0 + np.exp(-(evidence @ WEIGHTS[:-1] + WEIGHTS[-1]))))


def evidence(
    points0: Float[np.ndarray, "k 2"],
    points1: Float[np.ndarray, "k 2"],
    confidence: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " e"]:
    """The parts of EVIDENCE; zeros without a match. Scale, turn and unit of the points do not
    matter."""
    if not len(confidence):
        return np.zeros(len(EVIDENCE))
    surest = np.argsort(-confidence, kind="stable")[:MOST]
    x0, x1 = (np.asarray(x[surest], np.float64) for x in (points0, points1))
    fits = fitting(x0, x1) if len(x0) >= FEWEST else np.zeros(1)
    return np.array([fits.mean(), np.log1p(len(confidence))])


def fitting(
    points0: Float[np.ndarray, "k 2"], points1: Float[np.ndarray, "k 2"]
) -> Float[np.ndarray, " k"]:
    """1 for the matches whose neighbours in image 0 lie in image 1 as a mild affine map about the
    match lays them: one that neither mirrors nor flattens; 0 for the others."""
    away = ((points0[:, None] - points0[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(away, np.inf)
    near = np.argpartition(away, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    before, after = (p[near] - p[:, None] for p in (points0, points1))  # [k n 2]
    square = before.swapaxes(1, 2) @ before
    stiffness = 1e-3 * np.trace(square, axis1=1, axis2=2) + 1e-9
    square += stiffness[:, None, None] * np.eye(2)
    affine = np.linalg.solve(square, before.swapaxes(1, 2) @ after)  # before @ affine = after
    missed = ((after - before @ affine) ** 2).sum(axis=(1, 2))
    spread = (after**2).sum(axis=(1, 2))
    mild = np.linalg.det(affine) > 0.05 * (affine**2).sum(axis=(1, 2))
    return ((missed < MISS**2 * spread) & mild).astype(np.float64)
