"""How long a program takes, what memory it plans, and how near it comes to the device's limits."""

import dataclasses
import statistics
import time

import jax
import jax.numpy as jnp

_BLOCK_S = 0.02  # calls of a GPU that take about so long together are waited for together
_MOST_CALLS = 100


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a program needs by its definition, however it is implemented."""

    flops: float  # a multiplication and an addition are two
    bytes: float  # every input read once, every result written once


@dataclasses.dataclass(frozen=True)
class Peaks:
    """The most that a device does."""

    flops_per_s: float
    bytes_per_s: float
    source: str

    def least_ms(self, cost: Cost) -> float:
        """The roofline: no program of this cost takes less time."""
        return 1e3 * max(cost.flops / self.flops_per_s, cost.bytes / self.bytes_per_s)


@dataclasses.dataclass(frozen=True)
class Timing:
    """Of one call."""

    ms: float  # the median
    temporary_mb: float  # at its peak, as the compiler plans it; inputs and results not counted


_KNOWN = {  # (a part of the device's name, dtype)
    ("H200", "bfloat16"): Peaks(788e12, 4.3e12, "H200: matrix product and copy, measured"),
    ("H200", "float32"): Peaks(67e12, 4.3e12, "H200: data sheet without TF32; copy, measured"),
}


def peaks_of(device, dtype: str) -> Peaks:
    """The peaks of a known jax.Device; of another one by a quick matrix product and copy."""
    for (name, of_dtype), peaks in _KNOWN.items():
        if name in device.device_kind and dtype == of_dtype:
            return peaks
    return measured_peaks(dtype, *((2048, 2**26) if device.platform == "cpu" else (8192, 2**28)))


def measured_peaks(dtype: str, side: int, numbers: int, passes: int = 4) -> Peaks:
    """By a product of matrices [side side], and by passes over so many float32 in place."""
    x = jnp.full((side, side), 0.5, dtype)
    product = measure(jax.jit(jnp.matmul).lower(x, x).compile(), x, x, repeats=3)

    def add(x):  # in a loop, so that the pages of the result are not new to the system
        return jax.lax.fori_loop(0, passes, lambda _, x: x + 1, x)

    y = jnp.zeros(numbers, jnp.float32)
    copy = measure(jax.jit(add).lower(y).compile(), y, repeats=3)
    return Peaks(
        2e3 * side**3 / product.ms,
        2e3 * passes * y.nbytes / copy.ms,
        f"measured: product of {side} x {side} {dtype}, passes over {y.nbytes / 1e6:.0f} MB",
    )


def compile_within(most_gb: float, function, *args) -> jax.stages.Compiled:
    """Compiles function(*args). MemoryError where more temporary memory is planned than most_gb."""
    compiled = jax.jit(function).lower(*args).compile()
    planned = compiled.memory_analysis().temp_size_in_bytes / 1e9
    if planned > most_gb:
        raise MemoryError(f"needs {planned:.1f} GB, more than --most-gb {most_gb:g}")
    return compiled


def measure(compiled: jax.stages.Compiled, *args, repeats: int) -> Timing:
    """Times compiled(*args) after a warm-up: the median of `repeats`.

    On a GPU one repeat is as many calls as take about 20 ms, waited for together, so that their
    launches do not count.
    """

    def seconds(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            out = compiled(*args)
        jax.block_until_ready(out)
        return (time.perf_counter() - start) / calls

    seconds(1)
    # A CPU would run calls that do not wait for each other at once.
    serial = jax.default_backend() != "cpu"
    calls = max(1, min(_MOST_CALLS, int(_BLOCK_S / seconds(1)))) if serial else 1
    return Timing(
        1e3 * statistics.median(seconds(calls) for _ in range(repeats)),
        compiled.memory_analysis().temp_size_in_bytes / 1e6,
    )
