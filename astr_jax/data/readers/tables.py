"""Any data set as two tables that travel: TensorFlow Datasets in ArrayRecord files, no TensorFlow.

    write_tables(dataset, folder, name="kitchen")   pictures once, the pairs in their own table
    Tables(folder, name="kitchen")                  the same pairs again, a PosedDataset

Needs the extra `tables`. Nothing in the files is a pickle, and TFDS and Grain read them too:
`tfds.builder_from_directory(folder / "kitchen_views" / "1.0.0").as_data_source("train")`.
"""

import io
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from astr_jax.data.readers.bad_files import BadFiles
from astr_jax.data.readers.pairs import LazyPairs, PosedDataset, PosedPair
from astr_jax.data.readers.views import FittedView, View, fit_view

VERSION = "1.0.0"
SPLIT = "train"


class Tables(PosedDataset):
    """Reads what write_tables wrote."""

    def __init__(self, folder: str | os.PathLike, *, name: str):
        import tensorflow_datasets as tfds

        def opened(table: str):
            path = pathlib.Path(folder) / table / VERSION
            if not (path / "dataset_info.json").is_file():
                raise FileNotFoundError(f"Expected a table of write_tables in {path}.")
            builder = tfds.builder_from_directory(path)
            return builder.as_data_source(SPLIT), builder.info.metadata

        self.views, _ = opened(f"{name}_views")
        self.table, metadata = opened(f"{name}_pairs")
        self.rows = {scene: (first, count) for scene, first, count in metadata["rows"]}
        super().__init__(list(self.rows))

    def read_scene(self, scene: str) -> LazyPairs:
        first, count = self.rows[scene]

        def make(k: int) -> PosedPair:
            row = self.table[first + k]
            views = (self._view(int(row[key])) for key in ("view0", "view1"))
            return PosedPair(row["scene"].decode(), *views, row["T_0to1"], float(row["overlap"]))

        return LazyPairs(count, make)

    def _view(self, number: int) -> View:
        row = self.views[number]
        return View(row["name"].decode(), row["image"][..., 0], row["K"], row["depth"])


def write_tables(
    dataset: PosedDataset,
    folder: str | os.PathLike,
    *,
    name: str,
    size: tuple[int, int] | None = None,
    skip_bad: bool = False,
) -> BadFiles:
    """Writes all pairs of a data set and the views that they need; upright, grey, lossless.

    size (h, w) shrinks or enlarges the views to fit; None keeps them as they are. With skip_bad,
    pairs of unreadable files are left out. Returns those files.
    """
    folder = pathlib.Path(folder)
    tables = _Rows(dataset, size, BadFiles(skip=skip_bad))
    for table in (f"{name}_views", f"{name}_pairs"):
        if (folder / table / VERSION).exists():
            raise FileExistsError(
                f"{folder / table} is there already; remove it, or change `name`."
            )
    _write(folder, f"{name}_views", _view_features(), tables.views, lambda: {})
    _write(folder, f"{name}_pairs", _pair_features(), tables.pairs, lambda: {"rows": tables.scenes})
    return tables.bad


class _Rows:
    """The rows of both tables. The views come first: while they are read, the pairs are listed."""

    def __init__(self, dataset: PosedDataset, size: tuple[int, int] | None, bad: BadFiles):
        self.dataset, self.size, self.bad = dataset, size, bad
        self.scenes: list[tuple[str, int, int]] = []  # name, first row and number of its pairs
        self._listed: list[tuple] = []  # scene, view0, view1, cam1_from_cam0, overlap
        self._turns: list[np.ndarray] = []  # upright_from_cam of each view written
        self._number: dict[str, int | None] = {}  # of each view by name; None if unreadable

    def views(self) -> Iterator[dict]:
        for scene in self.dataset.scenes:
            first = len(self._listed)
            for pair in self._readable_pairs(scene):
                for view in (pair.view0, pair.view1):
                    if view.name not in self._number:
                        yield from self._view_row(view)
                ends = [self._number[view.name] for view in (pair.view0, pair.view1)]
                if None not in ends:
                    # Without its views, which may hold whole pictures.
                    self._listed.append((pair.scene, *ends, pair.cam1_from_cam0, pair.overlap))
            self.scenes.append((scene, first, len(self._listed) - first))

    def pairs(self) -> Iterator[dict]:
        for scene, view0, view1, cam1_from_cam0, overlap in self._listed:
            yield {
                "scene": scene,
                "view0": view0,
                "view1": view1,
                "T_0to1": self._turns[view1] @ cam1_from_cam0 @ self._turns[view0].T,
                "overlap": np.float32(overlap),
            }

    def _readable_pairs(self, scene: str) -> Iterator[PosedPair]:
        count = 0
        with self.bad.skipped():
            count = len(self.dataset.pairs(scene))
        for k in range(count):
            pair = None
            with self.bad.skipped():
                pair = self.dataset.pairs(scene)[k]
            if pair is not None:
                yield pair

    def _view_row(self, view: View) -> Iterator[dict]:
        fitted: FittedView | None = None
        self._number[view.name] = None
        with self.bad.skipped():
            fitted = fit_view(view, self.size)
        if fitted is not None:
            self._number[view.name] = len(self._turns)
            self._turns.append(fitted.upright_from_cam)
            png = io.BytesIO(cv2.imencode(".png", fitted.image)[1].tobytes())
            yield {"name": view.name, "image": png, "depth": fitted.depth, "K": fitted.K}


def _view_features() -> dict:
    from tensorflow_datasets import features

    return {
        "name": features.Text(),
        "image": features.Image(shape=(None, None, 1), encoding_format="png"),
        "depth": features.Tensor(shape=(None, None), dtype=np.float32, encoding="zlib"),
        "K": features.Tensor(shape=(3, 3), dtype=np.float64, encoding="bytes"),
    }


def _pair_features() -> dict:
    from tensorflow_datasets import features

    return {
        "scene": features.Text(),
        "view0": features.Scalar(np.int64),  # rows of the table of views
        "view1": features.Scalar(np.int64),
        "T_0to1": features.Tensor(shape=(4, 4), dtype=np.float64, encoding="bytes"),
        "overlap": features.Scalar(np.float32),
    }


def _write(
    folder: pathlib.Path,
    table: str,
    columns: dict,
    rows: Callable[[], Iterable[dict]],
    metadata: Callable[[], dict],
) -> None:
    """Writes one table in the order of its rows."""
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():

        class Table(tfds.core.GeneratorBasedBuilder):
            name = table
            VERSION = tfds.core.Version(VERSION)
            pkg_dir_path = folder  # TFDS asks for the builder's source, to read its citation

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(columns),
                    description="Posed pairs: " + table,
                    disable_shuffling=True,
                    metadata=tfds.core.MetadataDict(metadata()),
                )

            def _split_generators(self, _):
                return {SPLIT: self._generate_examples()}

            def _generate_examples(self):
                return enumerate(rows())

    Table(data_dir=folder, file_format="array_record").download_and_prepare()
