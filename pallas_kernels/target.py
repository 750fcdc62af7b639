"""The device that a program is traced and compiled for, which need not be there.

Pallas kernels are compiled on a GPU and interpreted elsewhere. Which of the two is right follows
from the mesh that a program is traced under, and without one from the default backend: so a
machine without a GPU can compile for one (`gpu_compiler`, `h200_mesh`, `compile_for`).
"""

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

SHARED_MEMORY = 232448  # bytes of an H100 or H200 that a program may take

# XLA's description of a GPU (GpuTargetConfigProto, as text). The numbers are those that the CUDA
# driver reports for an H200; sizes in bytes, bandwidth in bytes per second.
_H200 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H200"
runtime_version { major: 13 minor: 0 patch: 0 }
dnn_version_info { major: 9 minor: 10 patch: 0 }
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 feature_extension: ACCELERATED_FEATURES }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  device_memory_size: 150000000000
  memory_bandwidth: 4800000000000
  l2_cache_size: 52428800
  shared_memory_per_core: 233472
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  threads_per_core_limit: 2048
  threads_per_block_limit: 1024
  threads_per_warp: 32
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
"""


GPUS = {  # by name: what XLA is told. An H100 differs in memory alone: of 80 GB, and slower
    "h200": _H200,
    "h100": _H200.replace("NVIDIA H200", "NVIDIA H100 80GB HBM3")
    .replace("device_memory_size: 150000000000", "device_memory_size: 85000000000")
    .replace("memory_bandwidth: 4800000000000", "memory_bandwidth: 3350000000000"),
}

# XLA chooses the tiles of its own matrix products by trying them on the device. Without one, its
# first choice can be one that it cannot compile, so such products go to cuBLAS.
_UNTUNED = {"xla_gpu_enable_triton_gemm": False}


def target_platform() -> str:
    """Where the program being traced will run: "cpu", "gpu" or "tpu"."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    device = device or jax.config.jax_default_device
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform


def h200_mesh(shared_memory: int = SHARED_MEMORY) -> Mesh:
    """gpu_mesh of an H200."""
    return gpu_mesh("h200", shared_memory)


def gpu_mesh(name: str, shared_memory: int = SHARED_MEMORY) -> Mesh:
    """A mesh of one GPU that exists on paper, of GPUS, with the axis "data".

    shared_memory: bytes that a program may take; an H100 and an H200 have SHARED_MEMORY. Programs
    compile for it and cannot run. Needs `gpu_compiler.start`.
    """
    config = GPUS[name].replace(str(SHARED_MEMORY), str(shared_memory))
    topology = topologies.get_topology_desc(name, "cuda", target_config=config, topology="1x1x1")
    return Mesh(np.array(topology.devices), ("data",))


def compile_for(mesh: Mesh, function, *shapes, donate_argnums=()) -> jax.stages.Compiled:
    """Compiles a function for the devices of a mesh, which need not exist.

    shapes: pytrees of jax.ShapeDtypeStruct, one an argument; every device holds them whole.
    """
    whole = NamedSharding(mesh, PartitionSpec())

    def placed(x):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole)

    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        jitted = jax.jit(function, donate_argnums=donate_argnums)
        lowered = jitted.trace(*jax.tree.map(placed, shapes)).lower()
    return lowered.compile(compiler_options=_UNTUNED)


def one_line(error: Exception) -> str:
    """What a compiler's error says, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
