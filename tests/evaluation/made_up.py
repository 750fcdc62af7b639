"""A matcher whose fault is known."""

import dataclasses

import numpy as np

from astr_jax.evaluation.studies.calibration_fit import TEMPERATURES
from astr_jax.params import Calibration


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """A matcher of unmoved images, right with probability p. It claims p ** (1 / fault) and sigmas
    `too_large` times the true ones, 0.5 px; with both mended it is calibrated."""

    fault: float
    too_large: float
    seed: int = 0
    count: int = 4000

    def drawn(self):
        rng = np.random.default_rng(self.seed)
        p = rng.uniform(0.02, 1, self.count)
        points0 = rng.uniform(20, 170, (self.count, 2))
        near = points0 + rng.normal(0, 0.5, points0.shape)
        far = points0 + rng.uniform(30, 60, points0.shape)
        points1 = np.where(rng.random((self.count, 1)) < p[:, None], near, far)
        return p, points0, points1

    def found(self, calibration):
        p, points0, points1 = self.drawn()
        confidence = p ** (self.fault / calibration.temperature)
        sigma = np.full(self.count, 0.5 * self.too_large * calibration.sigma_factor)
        keep = confidence > calibration.threshold
        return points0[keep], points1[keep], confidence[keep], sigma[keep]

    def all_found(self):
        everything = self.found(Calibration(threshold=0.0))
        return everything, np.log(self.drawn()[0]) * self.fault / TEMPERATURES[:, None]
