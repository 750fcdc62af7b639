"""One export of a small model with random weights, for all that reads it."""

import numpy as np
import pytest

from astr_jax.data.demo import demo_pair
from astr_jax.params import Calibration, Params, fold_params

SIZE = (64, 96)  # height, width


@pytest.fixture(scope="session")
def micro_params(micro_config, micro_variables):
    """Weights of the micro model, folded for inference."""
    return fold_params(
        Params(
            variables=micro_variables, config=micro_config, calibration=Calibration(threshold=0.0)
        )
    )


@pytest.fixture(scope="session")
def pictures():
    """Two pictures of one plane, uint8 [h w]."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    pair = demo_pair(np.kron(coarse, np.ones((4, 4, 1), np.uint8)), size=SIZE)
    return pair.image0[..., 0], pair.image1[..., 0]
