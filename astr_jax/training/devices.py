"""Many devices, of one process or of many: each computes its own pairs of every batch.

A mesh has one axis, "data". The state is the same on all devices, a batch is split over them, and
what a step computes does not depend on their number, up to rounding: batch norm and the losses
are those of the whole micro-batch.
"""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree
from rich import print as say

from astr_jax.compiled import check_device
from astr_jax.ops.per_pair import DATA_AXIS
from astr_jax.supervision import PairBatch
from pallas_kernels.target import one_line


def join(
    coordinator: str | None = None, processes: int | None = None, process: int | None = None
) -> None:
    """Makes this process one of several, before anything is computed.

    coordinator: host:port of process 0; without it, Slurm or MPI is asked, and the process takes
    the GPU of its local number: start one for each GPU. Raises ValueError where
    neither tells, and where the three do not come together.
    """
    given = coordinator, processes, process
    if any(v is None for v in given) and any(v is not None for v in given):
        raise ValueError("--coordinator, --processes and --process come together or not at all.")
    if processes is not None and not 0 <= process < processes:
        raise ValueError(f"--process must be in 0 .. {processes - 1}; got {process}.")
    try:
        jax.distributed.initialize(coordinator, processes, process, shutdown_timeout_seconds=30)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"The processes did not come together ({one_line(error)}). Outside Slurm "
            "and MPI give each one --coordinator HOST:PORT --processes N --process I."
        ) from error


def say_where() -> None:
    """Says, once, how many devices work together."""
    if is_first():
        kind = jax.devices()[0].device_kind
        say(f"{jax.device_count()} devices ({kind}) in {jax.process_count()} processes")


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of the given devices, by default of all there are."""
    devices = jax.devices() if devices is None else devices
    return Mesh(np.array(devices), (DATA_AXIS,), axis_types=(AxisType.Auto,))


def whole(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """The leading axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec(DATA_AXIS))


def check_split(mesh: Mesh, pairs_at_once: int) -> None:
    """Raises ValueError where a micro-batch cannot be split evenly."""
    if pairs_at_once % mesh.size:
        raise ValueError(
            f"A micro-batch of {pairs_at_once} pairs cannot be split over {mesh.size} devices. "
            "Take a multiple of them, or fewer devices by --devices."
        )


def make_split(mesh: Mesh, pairs: int, make: Callable[[range, jax.Device], PyTree]) -> PyTree:
    """Makes a batch on the mesh: make(rows, device) gives the pairs `rows` of it, of all `pairs`,
    for each device of this process."""
    each = pairs // mesh.size
    blocks = [
        jax.device_put(make(range(each * k, each * (k + 1)), device), device)
        for k, device in enumerate(mesh.devices.flat)
        if device.process_index == jax.process_index()
    ]

    def whole_array(*blocks: jax.Array) -> jax.Array:
        shape = (pairs, *blocks[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, split(mesh), blocks)

    return jax.tree.map(whole_array, *blocks)


def local_rows(batch: PairBatch) -> PairBatch:
    """The pairs of a batch that this process has, as NumPy arrays."""

    def rows(x):
        return np.concatenate([np.asarray(shard.data) for shard in x.addressable_shards])

    return jax.tree.map(rows, batch)


def local_copy(tree):
    """A tree that is the same on all devices, on one device of this process."""
    return jax.device_put(jax.device_get(tree), jax.local_devices()[0])


def on_local_device(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The same shape, on one device of this process."""
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Whether any process says so; all of them must ask at the same time."""
    if jax.process_count() == 1:
        return flag
    return bool(multihost_utils.process_allgather(np.array(flag)).any())


def from_first(value: float) -> float:
    """What the first process has; all of them must ask at the same time."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.broadcast_one_to_all(np.float64(value)))


def first_devices(count: int | None) -> Sequence[jax.Device]:
    """So many of the devices; None: all. Raises ValueError where there are fewer."""
    check_device()
    available = jax.devices()
    if count is None:
        return available
    if jax.process_count() > 1:
        raise ValueError("--devices is for a single process; several take all of theirs.")
    if not 1 <= count <= len(available):
        raise ValueError(f"--devices must be in 1 .. {len(available)}; got {count}.")
    return available[:count]
