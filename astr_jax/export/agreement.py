"""Whether an exported program does what JAX does, by the matches of one pair."""

import dataclasses

import numpy as np

from astr_jax.types import Matches

LEAST_SAME = 0.995  # of the matches
FARTHEST = 0.02  # pixels


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How two lists of matches of one pair, both without padding, differ."""

    same: float  # share of the matches that both have: cells alike, within FARTHEST in image 1
    largest: float  # distance in image 1 of matches whose cells are alike, pixels
    counts: tuple[int, int]

    @classmethod
    def of(cls, one: Matches, other: Matches) -> "Agreement":
        places = {cells: row for row, cells in enumerate(_cells(other))}
        rows = [(i, places[c]) for i, c in enumerate(_cells(one)) if c in places]
        first, second = np.array(rows, int).reshape(-1, 2).T
        away = np.linalg.norm(one.keypoints1[first] - other.keypoints1[second], axis=1)
        most = max(len(one), len(other))
        return cls(
            same=float((away <= FARTHEST).sum() / most) if most else 1.0,
            largest=float(away.max(initial=0.0)),
            counts=(len(one), len(other)),
        )

    def __str__(self) -> str:
        return (
            f"{self.same:.2%} of {self.counts[1]} matches the same within {FARTHEST} px, "
            f"the largest difference {self.largest:.3g} px"
        )

    def check(self, what: str) -> None:
        """Raises ValueError where too little is the same."""
        if self.same < LEAST_SAME:
            raise ValueError(
                f"{what} does not do what JAX does: {self}; {LEAST_SAME:.1%} must be. It is "
                "removed. Is this a version of the runtime that was not tried?"
            )


def _cells(matches: Matches) -> list[tuple[int, int]]:
    return [*zip(matches.cell0.tolist(), matches.cell1.tolist(), strict=True)]
