"""Makes JAX strict, and quick to compile; what the tests of the model share."""

import atexit
import gc
import os
import pathlib
import shutil
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_models import MICRO, NANO, random_variables

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 8)  # virtual ones, for what runs on several
# Compiling is most of what the suite does. Each of these saves about half of it and keeps the
# results; commands under test inherit the second.
jax.config.update("jax_disable_most_optimizations", True)
if jax.__version_info__ < (0, 11):  # an XLA that does not know a flag ends the process
    flags = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()

# Tracing makes a great many objects that stay, and looking through them again and again takes a
# quarter of its time.
gc.freeze()
gc.set_threshold(100_000, 50, 100)

# What one worker or command under test has compiled, the others of the same run read.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="astr-tests-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(scope="session")
def nano_config():
    """The micro model with one block and one step: compiles in two thirds of the time, for tests of
    what leads to the model and away from it."""
    return NANO


@pytest.fixture(scope="session")
def nano_variables():
    """Random variables of the nano model, its norms too."""
    return random_variables(NANO)


@pytest.fixture(scope="session")
def micro_config():
    """The smallest model that has every part: two spot-guided blocks, the fine stage at 1/4."""
    return MICRO


@pytest.fixture(scope="session")
def micro_variables():
    """Random variables of the micro model, its norms too, so that no test is passed by ones."""
    return random_variables(MICRO)


MOST_MAPS = 30_000  # of a process; Linux allows 65,530


@pytest.fixture(scope="module", autouse=True)
def few_memory_maps():
    """Forgets compiled programs once there are many: each holds pieces of memory of its own, and a
    process that has too many of them cannot compile another one."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture
def rng():
    """The test's own random numbers, the same in every run."""
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def make_images():
    """make_images(seed, (b, h, w)) -> smooth random grey images in [0, 1], [b h w 1]."""

    def make(seed, shape):
        image = np.random.default_rng(seed).random((*shape, 1)).astype(np.float32)
        for axis in (1, 2):
            for _ in range(3):
                image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
        image -= image.min()
        return jnp.asarray(image / image.max())

    return make
