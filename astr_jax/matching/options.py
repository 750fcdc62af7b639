"""What a caller may choose of a match, checked once."""

import dataclasses
import numbers
from typing import no_type_check

from astr_jax.images import ALPHAS, DROP
from astr_jax.matching.polishing import check_polish
from astr_jax.matching.scales import AUTO, check_scales
from astr_jax.matching.turns import check_upright
from astr_jax.ops.scaling import ESTIMATORS

RESIZE = 640  # default limit of the long side, pixels
MOST_RESIZE = 2**15  # pixels: one grey image of this size has 4 GiB


@no_type_check  # what is wrong is said in words of its own
@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchOptions:
    """How images are matched; the keywords of `astr_jax.match` that are no images."""

    max_matches: int | None = None  # the most confident; None: all
    threshold: float | None = None  # least confidence, in [0, 1); None: the weights' own
    resize: object = RESIZE  # a whole number: the long side is shrunk to it at most, pixels
    estimator: str | None = None  # of the scale ratio; None: "pose" with intrinsics, else "affine"
    upright: object = AUTO  # True: both images stand the same way up; False: look at four turns
    polish: object = True  # least-squares matching in the end; "all": nothing is left out
    alpha: str = DROP  # of images that have it: "drop", or "mask", which hides what is transparent
    scales: object = AUTO  # "auto", or how much larger things look in image 1: one number or more

    def __post_init__(self):
        most, least = self.max_matches, self.threshold
        if most is not None and not (_is_number(most, numbers.Integral) and most >= 1):
            raise ValueError(
                f"max_matches must be at least 1, a whole number, or None; got {most!r}."
            )
        if least is not None and not (_is_number(least, numbers.Real) and 0 <= least < 1):
            raise ValueError(f"threshold must lie in [0, 1); got {least!r}.")
        if not _is_number(self.resize, numbers.Integral):
            raise ValueError(
                f"resize must be a whole number of pixels; got {self.resize!r}. To keep the size "
                "of your images, give their long side."
            )
        if self.resize < 64:
            raise ValueError(f"resize must be at least 64 pixels; got {self.resize}.")
        if self.resize > MOST_RESIZE:
            raise ValueError(
                f"resize must be at most {MOST_RESIZE} pixels: every image is padded to it; got "
                f"{self.resize}."
            )
        check_polish(self.polish)
        if not isinstance(self.alpha, str) or self.alpha not in ALPHAS:
            raise ValueError(f"alpha must be one of {ALPHAS}; got {self.alpha!r}.")
        if self.estimator is not None and not (
            isinstance(self.estimator, str) and self.estimator in ESTIMATORS
        ):
            raise ValueError(
                f"estimator must be one of {ESTIMATORS} or None; got {self.estimator!r}."
            )
        check_upright(self.upright)
        check_scales(self.scales)

    def estimator_for(self, K0, K1) -> str:
        """The named estimator, or the best for what is known of the cameras.

        Raises ValueError for one camera without the other, and for "pose" without any.
        """
        if (K0 is None) != (K1 is None):
            raise ValueError("K0 and K1 belong together: pass both, or neither.")
        if self.estimator == "pose" and K0 is None:
            raise ValueError('estimator="pose" needs the intrinsics K0 and K1.')
        return self.estimator or ("affine" if K0 is None else "pose")


def _is_number(value, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
