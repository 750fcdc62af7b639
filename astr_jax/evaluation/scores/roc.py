"""What a number tells of two kinds of pairs: the share of one kind above a bound, over the share of
the other kind above it, at every bound (receiver operating characteristic)."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

RESAMPLES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roc:
    """What a number tells of the pairs, at every bound from high to low."""

    false: Float[np.ndarray, " t"]  # share of the pairs with nothing in common above it
    true: Float[np.ndarray, " t"]  # share of the pairs of one place

    @property
    def area(self) -> float:
        """The chance that a pair of one place has more than one of two; equal ones count half."""
        return float(np.trapezoid(self.true, self.false))

    def true_at(self, false: float) -> float:
        """The largest share found where no more than so many false ones come along."""
        return float(self.true[self.false <= false].max(initial=0.0))


def roc_of(values: Float[np.ndarray, " k"], same: Bool[np.ndarray, " k"]) -> Roc:
    """Of a number a pair. Raises ValueError where one of the two kinds is missing."""
    if same.all() or not same.any():
        raise ValueError("an ROC needs pairs of one place and pairs with nothing in common.")
    order = np.argsort(-values, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # of equal values
    true, false = (np.append(0, np.cumsum(x[order])[ends] / x.sum()) for x in (same, ~same))
    return Roc(false=false, true=true)


def area_interval(
    values: Float[np.ndarray, " k"], same: Bool[np.ndarray, " k"], seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the area, by the bootstrap over the pairs of each kind."""
    rng, kinds = np.random.default_rng(seed), [np.flatnonzero(same), np.flatnonzero(~same)]
    areas = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        areas.append(roc_of(values[rows], same[rows]).area)
    low, high = np.quantile(areas, [0.025, 0.975])
    return float(low), float(high)
