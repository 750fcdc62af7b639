"""Reads .npz files that hold pickled objects, without running what a pickle may ask for.

The published indices of MegaDepth are such files, and they come from anywhere. A pickle can name
any function of any module to be called; here it can name numpy's own four, and nothing else.
"""

import collections.abc
import io
import lzma
import os
import pickle
import struct
import tokenize
import zipfile
import zlib

import numpy as np

from astr_jax.data.readers.bad_files import UnreadableFile

# What reading a damaged .npz may raise.
DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, SyntaxError),
    *(RuntimeError, MemoryError, ArithmeticError, AssertionError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(pickle.UnpicklingError, tokenize.TokenError),
)


def _latin1(text: str, encoding: str) -> bytes:
    """What old pickles call to make bytes: _codecs.encode, for this one encoding."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"the encoding {encoding} is not read")
    return text.encode("latin1")


_ALLOWED = {("_codecs", "encode"): _latin1}
for _core in ("core", "_core"):  # numpy 1 and 2
    _multiarray = f"numpy.{_core}.multiarray"
    _ALLOWED[_multiarray, "_reconstruct"] = np.empty(0).__reduce__()[0]
    _ALLOWED[_multiarray, "scalar"] = np.float64(0).__reduce__()[0]
    _ALLOWED[f"numpy.{_core}.numeric", "_frombuffer"] = np.empty(1).__reduce_ex__(5)[0]
_ALLOWED["numpy", "ndarray"] = np.ndarray
_ALLOWED["numpy", "dtype"] = np.dtype


class _NumpyOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, and only numpy is read")
        return _ALLOWED[module, name]


def read_object_npz(
    path: str | os.PathLike, keys: collections.abc.Iterable[str]
) -> dict[str, np.ndarray | list]:
    """Reads those of the keys that the file has; the others are not even unpickled.

    The file was written by np.savez(path, **index), or by np.savez(path, index): the keys of one
    pickled dict. Raises UnreadableFile.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if names == {"arr_0"}:
                held = _read_npy(archive.read("arr_0.npy"))
                held = held.item() if held.shape == () else None
                if not isinstance(held, dict):
                    raise ValueError("its one entry is no dict")
                return {key: _rows(held[key], key) for key in keys if key in held}
            return {key: _read_npy(archive.read(f"{key}.npy")) for key in keys if key in names}
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such index") from None
    except (OSError, zipfile.BadZipFile, pickle.UnpicklingError, ValueError) as error:
        raise UnreadableFile(path, f"the index cannot be read ({error})") from None
    except DAMAGE as error:
        raise UnreadableFile(path, f"the index is damaged ({error!r})") from None


def _rows(value, key: str) -> np.ndarray | list:
    if not isinstance(value, np.ndarray | list):
        raise ValueError(f"{key} is no array")
    return value


def _read_npy(content: bytes) -> np.ndarray:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"npy version {version} is not read")
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)
    array = _NumpyOnly(stream, encoding="latin1").load()
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError(f"expected an array of shape {shape}; got {type(array).__name__}")
    return array
