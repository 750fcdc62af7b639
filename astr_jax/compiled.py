"""Compiled programs, kept from one process to the next.

Compiling takes most of a first match. JAX can keep what it compiled in a folder; this module names
one of the user's by default. JAX tells programs apart by their code, shapes and versions.
"""

import os
import pathlib

import jax

VARIABLE = "ASTR_JAX_CACHE"  # "0" or "off": nothing is kept; else the folder to keep it in
LEAST_SECONDS = 0.2  # of compiling; what is quicker is not kept


def keep_compiled() -> pathlib.Path | None:
    """Makes JAX keep compiled programs in a folder, and returns it; None where nothing is kept.

    The folder that the caller has given JAX (JAX_COMPILATION_CACHE_DIR) is left as it is. A folder
    that cannot be written to is not used, without a word.
    """
    given = jax.config.jax_compilation_cache_dir
    if given:
        return pathlib.Path(given)
    folder = cache_folder()
    if folder is None or not _is_writable(folder):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def cache_folder() -> pathlib.Path | None:
    """Where programs are kept by default: in XDG_CACHE_HOME, or in ~/.cache; None if switched
    off."""
    asked = os.environ.get(VARIABLE)
    if asked is not None:
        return None if asked.lower() in ("", "0", "off") else pathlib.Path(asked).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "astr_jax" / "compiled"


def _is_writable(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
