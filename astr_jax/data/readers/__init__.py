"""Readers of data sets of posed pairs, real depth and all; README.md has the layouts."""

from astr_jax.data.readers.bad_files import BadFiles, UnreadableFile
from astr_jax.data.readers.colmap import ColmapModels
from astr_jax.data.readers.megadepth import MegaDepth
from astr_jax.data.readers.opening import KINDS, open_dataset
from astr_jax.data.readers.pairs import PosedDataset, PosedPair
from astr_jax.data.readers.posed_folder import PosedFolders
from astr_jax.data.readers.sampling import PosedPairs, scene_balanced
from astr_jax.data.readers.scannet import ScanNet
from astr_jax.data.readers.tables import Tables, write_tables

__all__ = [
    "KINDS",
    "BadFiles",
    "ColmapModels",
    "MegaDepth",
    "PosedDataset",
    "PosedFolders",
    "PosedPair",
    "PosedPairs",
    "ScanNet",
    "Tables",
    "UnreadableFile",
    "open_dataset",
    "scene_balanced",
    "write_tables",
]
