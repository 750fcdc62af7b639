"""How fast a run goes, and how much of the device's arithmetic that is."""

import contextlib
import time

from jax.sharding import Mesh

from astr_jax.config import ModelConfig
from astr_jax.instruments.cost import count_flops
from astr_jax.training.experiment import Stage

# Dense peak of a device, FLOP/s, as its maker publishes it: of bfloat16, and of TF32, in which
# float32 is multiplied there.
PEAKS = {
    "H200": {"bfloat16": 989e12, "float32": 495e12},
    "H100": {"bfloat16": 989e12, "float32": 495e12},
    "A100": {"bfloat16": 312e12, "float32": 156e12},
    "L40S": {"bfloat16": 362e12, "float32": 183e12},
}
STEP_OVER_FORWARD = 3  # the backward pass costs twice the forward pass


def peak_of(device_kind: str, dtype: str) -> float | None:
    """FLOP/s of a device, or None where it is not known."""
    return next((peak[dtype] for name, peak in PEAKS.items() if name in device_kind), None)


class Speed:
    """Pairs per second, and the share of the devices' peak that the model's arithmetic takes.

    What is recomputed, and all that is not a convolution or a matrix product, does not count.
    """

    def __init__(self, model: ModelConfig, stage: Stage, mesh: Mesh):
        self.batch_size, self.clock = stage.batch_size, time.monotonic()
        peak = peak_of(mesh.devices.flat[0].device_kind, model.dtype)
        self.pairs_at_peak = None
        if peak is not None:
            flops = STEP_OVER_FORWARD * count_flops(model, stage.height, stage.width).total
            self.pairs_at_peak = mesh.size * peak / flops

    def measure(self, steps: int) -> dict[str, float]:
        """The speed since the last measurement."""
        now = time.monotonic()
        rate = steps * self.batch_size / max(now - self.clock, 1e-9)
        self.clock = now
        speeds = {"pairs_per_second": rate}
        if self.pairs_at_peak is not None:
            speeds["share_of_peak"] = rate / self.pairs_at_peak
        return speeds

    @contextlib.contextmanager
    def paused(self):
        """What happens meanwhile does not count."""
        since = time.monotonic()
        yield
        self.clock += time.monotonic() - since
