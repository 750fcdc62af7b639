"""Which worlds are rendered and how their two cameras stand to each other."""

import dataclasses

from astr_jax.data.checks import check_shares
from astr_jax.data.photometry import PhotometricConfig
from astr_jax.data.worlds.layouts import KINDS

# A share of the depth, up to which two depths are of one point. Depth is exact, but read at the
# nearest pixel; with the 20 % for measured depth, more that is hidden would count as seen.
EXACT_TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """Which pairs are made. Difficulty 0 uses the easy ranges, difficulty 1 the full ones.

    Overlap is the larger of two shares: of the known pixels of either image, those whose surface
    the other image sees too. The smaller share is about this, divided by the squared change of
    scale.
    """

    height: int = 240
    width: int = 320
    kinds: tuple[str, ...] = KINDS  # of scenes, each as likely
    max_view_angle: float = 60.0  # degrees between the two directions to the point looked at
    min_depth_ratio: float = 1.0  # the larger by the smaller of that point's distances
    max_depth_ratio: float = 4.0
    max_rotation: float = 90.0  # degrees about the optical axis, in turned pairs
    rotation_rate: float = 0.25  # share of turned pairs; the others turn by up to easy_rotation
    min_overlap: float = 0.1
    max_overlap: float = 0.9
    easy_view_angle: float = 12.0
    easy_depth_ratio: float = 1.3
    easy_rotation: float = 8.0
    easy_overlap: float = 0.6  # least overlap at difficulty 0
    min_focal: float = 0.7  # focal length in lengths of the long side
    max_focal: float = 1.5
    max_focal_ratio: float = 1.5  # of the two focal lengths
    same_light_rate: float = 0.5  # share of pairs taken under one sun
    candidates: int = 16  # second cameras tried for the wanted overlap
    smooth_edges: bool = True  # one more ray at each pixel's corner
    light: PhotometricConfig = dataclasses.field(default_factory=PhotometricConfig)

    def __post_init__(self):
        if min(self.height, self.width) < 32 or self.height % 8 or self.width % 8:
            raise ValueError(
                "height and width must be multiples of 8, at least 32, as JPEG's blocks are 8 x 8; "
                f"got {self.height} x {self.width}."
            )
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise ValueError(f"kinds must be some of {', '.join(KINDS)}; got {self.kinds}.")
        if not 0 <= self.easy_view_angle <= self.max_view_angle <= 90:
            raise ValueError(
                "View angles are degrees with 0 <= easy_view_angle <= max_view_angle <= 90; "
                f"got {self.easy_view_angle} and {self.max_view_angle}."
            )
        ratios = self.min_depth_ratio, self.easy_depth_ratio, self.max_depth_ratio
        if not 1 <= ratios[0] <= ratios[1] <= ratios[2] <= 6:
            raise ValueError(
                "Depth ratios must obey 1 <= min_depth_ratio <= easy_depth_ratio <= "
                f"max_depth_ratio <= 6; got {ratios[0]}, {ratios[1]} and {ratios[2]}."
            )
        if not 0 <= self.easy_rotation <= self.max_rotation <= 180:
            raise ValueError(
                "Rotations are degrees with 0 <= easy_rotation <= max_rotation <= 180; "
                f"got {self.easy_rotation} and {self.max_rotation}."
            )
        if not 0 < self.min_overlap <= self.easy_overlap <= self.max_overlap < 1:
            raise ValueError(
                "Overlaps must obey 0 < min_overlap <= easy_overlap <= max_overlap < 1; "
                f"got {self.min_overlap}, {self.easy_overlap} and {self.max_overlap}."
            )
        if not (0.3 <= self.min_focal <= self.max_focal and self.max_focal_ratio >= 1):
            raise ValueError(
                "Focal lengths must obey 0.3 <= min_focal <= max_focal and max_focal_ratio >= 1; "
                f"got {self.min_focal}, {self.max_focal} and {self.max_focal_ratio}."
            )
        check_shares(self, "rotation_rate", "same_light_rate")
        if self.candidates < 1:
            raise ValueError(f"candidates must be 1 or more; got {self.candidates}.")

    @property
    def size(self) -> tuple[int, int]:
        return self.height, self.width
