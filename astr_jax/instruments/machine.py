"""The machine that something was timed on."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform

import jax

CPU = pathlib.Path("/proc/cpuinfo")
PACKAGES = ("astr_jax", "jax", "jaxlib", "numpy", "opencv-python-headless", "opencv-python")
PACKAGES += ("torch", "kornia")


def describe_machine() -> dict:
    """What a reader must know to compare times, fit for JSON."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    device = jax.local_devices()[0]
    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "device": device.device_kind if device.platform != "cpu" else "cpu",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),  # processes that want a core, mean of a minute
        "versions": versions,
    }


def cpu_model() -> str:
    """As the system names it."""
    for line in CPU.read_text().splitlines() if CPU.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """That this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def machine_words(machine: dict) -> str:
    """What describe_machine found, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = machine["cores"]
    return (
        f"{machine['cpu']}, {cores} core{'s' * (cores != 1)}, JAX on {machine['device']}; "
        f"{machine['system']}; load before the run {machine['load']:g}; {versions}"
    )
