"""A benchmark: pairs with known geometry, and the protocol that they are measured by."""

import dataclasses

from astr_jax.evaluation.benchmarks.pairs import Pair
from astr_jax.evaluation.benchmarks.resizing import Resize


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What a reader of a data set returns. Everything in it moves the figures."""

    name: str
    pairs: tuple[Pair, ...]
    resize: Resize  # of the images that the matcher is given
    max_matches: int | None = None  # the most confident, that are scored; None: all
    # name@threshold in pixels: the best, MAGSAC++ of OpenCV, and what LoFTR's figures are by
    pose_estimators: tuple[str, ...] = ("poselib@1", "magsac@1", "ransac@0.5")
    homography_estimators: tuple[str, ...] = ("magsac@3",)
    poses_in_file_pixels: bool = False  # thresholds of pose estimators; else in resized ones
    reader_options: dict = dataclasses.field(default_factory=dict)  # that chose the pairs
    whole: int | None = None  # how many pairs the whole benchmark has; None: as many as there are

    def __post_init__(self):
        seen = set()
        for pair in self.pairs:
            if (pair.set, pair.name) in seen:
                raise ValueError(
                    f"{self.name}: two pairs of the set {pair.set} are called {pair.name!r}; "
                    "names must be unique, so that runs can go on and reports be compared."
                )
            seen.add((pair.set, pair.name))
        if not self.pairs:
            raise ValueError(f"{self.name} has no pair to match.")
