"""Compiled programs, kept from one process to the next.

Compiling takes most of a first match. JAX can keep what it compiled in a folder; this module names
one of the user's by default. JAX tells programs apart by their code, their shapes, its versions and
what the processor can do.
"""

import contextlib
import os
import pathlib
import warnings
import zlib

import jax

VARIABLE = "ASTR_JAX_CACHE"  # "0" or "off": nothing is kept; else the folder to keep it in
LEAST_SECONDS = 0.2  # of compiling; what is quicker is not kept
_used_by: list[int] = []  # the process that has first used JAX here
STAMP = "checked"  # the file whose date says when the folder was last looked through


def keep_compiled() -> pathlib.Path | None:
    """Makes JAX keep compiled programs in a folder, and returns it; None where nothing is kept.

    The folder that the caller has given JAX (JAX_COMPILATION_CACHE_DIR) is left as it is. A folder
    that cannot be written to is not used, without a word. What cannot be read is compiled.
    """
    if not jax.config.jax_enable_compilation_cache:
        return None
    given = jax.config.jax_compilation_cache_dir
    if given:
        return pathlib.Path(given)
    folder = cache_folder()
    if folder is None or not _is_writable(folder):
        return None
    _drop_damaged(folder)
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)
    return folder


def check_device() -> None:
    """Raises ValueError where JAX finds no device of the kind that JAX_PLATFORMS asks for: by
    itself it may say no more than AssertionError. Raises as check_process."""
    check_process()
    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"JAX finds no device of JAX_PLATFORMS={asked!r}. Unset it to take what there is; for "
            f"a GPU, pip install 'astr_jax[cuda]' and look whether nvidia-smi sees it. {error}"
        ) from None


def check_process() -> None:
    """Raises RuntimeError in a process that was forked from one that has used JAX: JAX has threads,
    which a fork leaves behind, and what waits for them waits for ever."""
    if not _used_by:
        _used_by.append(os.getpid())
    if _used_by[0] != os.getpid():
        raise RuntimeError(
            f"process {os.getpid()} was forked from process {_used_by[0]}, which has used JAX, and "
            'would hang. Start processes by multiprocessing.get_context("spawn"), or load the '
            "weights in the new process alone."
        )


def cache_folder() -> pathlib.Path | None:
    """Where programs are kept by default: in XDG_CACHE_HOME, or in ~/.cache; None if switched off,
    or for a user without a home."""
    asked = os.environ.get(VARIABLE)
    if asked is not None:
        off = asked.lower() in ("", "0", "off")
        return None if off else pathlib.Path(os.path.expanduser(asked)).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # which is to be passed over, by the XDG specification
        base = os.path.expanduser("~/.cache")
    return pathlib.Path(base) / "astr_jax" / "compiled" if os.path.isabs(base) else None


def _is_writable(folder: pathlib.Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies there is run as code
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _drop_damaged(folder: pathlib.Path) -> None:
    """Deletes programs that a kill or a full disk has left half-written since this was last done:
    JAX would compile them in every process, and never write them anew."""
    stamp = folder / STAMP
    with contextlib.suppress(OSError):  # other processes may do the same
        since = stamp.stat().st_mtime if stamp.exists() else 0.0
        stamp.touch()
        for file in folder.glob("*-cache"):
            if file.stat().st_mtime >= since and not _is_whole(file.read_bytes()):
                file.unlink()


def _is_whole(packed: bytes) -> bool:
    """Whether zlib unpacks it. Where JAX has zstd it uses that, and it alone can tell."""
    if packed.startswith(b"\x28\xb5\x2f\xfd"):  # zstd
        return True
    try:
        zlib.decompress(packed)
    except zlib.error:
        return False
    return True
