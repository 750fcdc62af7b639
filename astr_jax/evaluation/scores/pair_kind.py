"""What the kind of its truth decides about a pair: how it is scored, and in which words."""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from astr_jax.evaluation.benchmarks.benchmark import Benchmark
from astr_jax.evaluation.benchmarks.resizing import LoadedPair
from astr_jax.evaluation.scores.found import FoundMatches


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairKind(abc.ABC):
    """A kind of pairs. There is one of each: POSE in poses.py, HOMOGRAPHY in homographies.py.

    An error is of an estimator, one for a pair and a seed. An offset is of a match: how far it is
    off the truth, by the measure that says whether it is right.
    """

    name: str  # in files and options
    truth: type  # of its pairs

    unit: str  # of errors
    short_unit: str  # the same, right behind a number
    error_words: str
    area_words: str  # in front of "AUC"
    thresholds: tuple[float, ...]  # of the areas under the curve of errors
    solved: float  # a pair with a smaller error counts as solved; one of the thresholds
    largest_error: float  # that figures show; larger ones lie on the edge

    estimators: Mapping[str, Callable]  # by name; all but the threshold and the seed is set
    judge: str  # the estimator that decides where one alone is asked

    share_format: str  # the name of the share of matches with a smaller offset, by the threshold
    share_thresholds: tuple[float, ...]
    shown_thresholds: tuple[float, ...]  # of the shares that tables have
    shown_words: str  # what counts as right in these
    right: float  # a match with a smaller offset is right, where confidence is judged
    right_words: str

    median_of_sigma_1: float  # the median error in pixels that a sigma of 1 px claims
    claim_words: str
    pixel_words: str  # what that error is

    def __repr__(self) -> str:
        return self.name

    @property
    def area_name(self) -> str:
        """ "pose AUC@5/10/20 degrees" or "corner AUC@1/3/5/10 px"."""
        at = "/".join(f"{threshold:g}" for threshold in self.thresholds)
        return f"{self.area_words} AUC@{at} {self.unit}"

    @property
    def solved_area(self) -> str:
        """The name of the area up to where pairs are solved: "AUC@10"."""
        return f"AUC@{self.solved:g}"

    @property
    def solved_words(self) -> str:
        """Up to where they are: "10 degrees"."""
        return f"{self.solved:g} {self.unit}"

    @property
    def share_names(self) -> list[str]:
        """The names of all shares of right matches: "epi@0.0005" or "3px"."""
        return list(map(self.share_format.format, self.share_thresholds))

    @property
    def shown_shares(self) -> list[str]:
        """The names of those that tables have."""
        return list(map(self.share_format.format, self.shown_thresholds))

    @property
    def right_share(self) -> str:
        """The name of the one that counts right matches."""
        return self.share_format.format(self.right)

    @property
    def estimators_key(self) -> str:
        """What the names of its estimators go by in a Benchmark, a protocol and the options."""
        return f"{self.name}_estimators"

    def estimators_of(self, benchmark: Benchmark) -> tuple[str, ...]:
        """The names of the estimators that a benchmark wants for pairs of this kind."""
        return getattr(benchmark, self.estimators_key)

    def find_estimator(self, name: str) -> Callable[..., np.ndarray | None]:
        """The estimator `name@threshold`, the threshold in pixels: estimate(*inputs, seed=0).

        inputs: as estimator_inputs gives them. Raises ValueError where there is none.
        """
        method, _, number = name.partition("@")
        try:
            threshold = float(number)
        except ValueError:
            threshold = math.nan
        if method not in self.estimators or not 0 < threshold < math.inf:
            raise ValueError(
                f"no {self.name} estimator {name!r}. Write name@threshold, with a positive number "
                f"of pixels and one of {', '.join(self.estimators)}: "
                f"{next(iter(self.estimators))}@1."
            )
        return functools.partial(self.estimators[method], threshold=threshold)

    def stated_limits(self, name: str) -> dict[str, float]:
        """What ends an estimator's search: the `confidence` that a sample without outliers was
        drawn, and `max_iterations`."""
        keywords = self.find_estimator(name).keywords
        return {key: keywords[key] for key in ("confidence", "max_iterations")}

    @abc.abstractmethod
    def estimator_inputs(
        self, found: FoundMatches, given: LoadedPair, *, poses_in_file_pixels: bool = False
    ) -> tuple[np.ndarray, ...]:
        """What the estimators are given of a pair; poses_in_file_pixels: as in Benchmark."""

    @abc.abstractmethod
    def error(self, estimate: np.ndarray | None, given: LoadedPair) -> float:
        """The error of an estimate; inf where it is None."""

    @abc.abstractmethod
    def offsets(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        """How far each match is off the truth."""

    @abc.abstractmethod
    def pixel_errors(self, found: FoundMatches, given: LoadedPair) -> Float[np.ndarray, " k"]:
        """The error in pixels that sigma is held against; inf or nan where there is none."""

    @abc.abstractmethod
    def drawn_errors(
        self, found: FoundMatches, given: LoadedPair
    ) -> tuple[Float[np.ndarray, " k"], str]:
        """The error in pixels that a picture colours matches by, and in words what it is."""

    @abc.abstractmethod
    def difficulty(self, given: LoadedPair) -> dict[str, Any]:
        """What the truth says of overlap, scale ratio and rotation; fields of a record."""
