"""The kinds of pairs, in the order in which reports have them."""

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.scores.homographies import HOMOGRAPHY
from astr_jax.evaluation.scores.pair_kind import PairKind
from astr_jax.evaluation.scores.poses import POSE

KINDS = (POSE, HOMOGRAPHY)


def kind_of(pair: Pair | LoadedPair) -> PairKind:
    """The kind of a pair, by its truth."""
    return next(kind for kind in KINDS if isinstance(pair.truth, kind.truth))


def kind_named(name: str) -> PairKind:
    """The kind of a name in a file. Raises ValueError where there is none."""
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise ValueError(f"there is no kind of pairs {name!r}; there are: {known}")
