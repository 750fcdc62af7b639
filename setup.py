"""Which packages are installed: configs/ goes into astr_jax, where it meets no folder of a user's.

All else is in pyproject.toml.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["astr_jax*", "pallas_kernels*"]),
        "astr_jax.configs",
    ],
    package_dir={"astr_jax.configs": "configs"},
)
