import pathlib

import numpy as np
import PIL.Image
import pytest

from astr_jax.data.readers import PosedDataset, PosedPair, PosedPairs, UnreadableFile
from astr_jax.data.readers.tables import VERSION, Tables, write_tables
from astr_jax.data.readers.views import View

tfds = pytest.importorskip("tensorflow_datasets", reason="of the extra `tables`")
SIZE = (24, 32)


class Rooms(PosedDataset):
    """Two rooms of four views, one of them held upright; a row of pairs in each."""

    def __init__(self, folder):
        self.folder = folder
        rng = np.random.default_rng(5)
        for room in ("a", "b"):
            for k in range(4):
                exif = PIL.Image.Exif()
                exif[0x0112] = 6 if k == 1 else 1
                pixels = rng.integers(0, 256, SIZE, np.uint8)
                PIL.Image.fromarray(pixels).save(folder / f"{room}{k}.png", exif=exif)
        self.depth = rng.uniform(1, 5, SIZE).astype(np.float32)
        super().__init__(["a", "b"])

    def read_scene(self, scene):
        K = np.array([[30.0, 0, 15.5], [0, 31.0, 11.5], [0, 0, 1]])

        def view(k):
            depth = self.depth + k if k < 3 else None
            return View(f"{scene}{k}", self.folder / f"{scene}{k}.png", K, depth)

        def pose(k):
            cam1_from_cam0 = np.eye(4)
            cam1_from_cam0[:3, 3] = k, 0.1, -0.25
            return cam1_from_cam0

        return [
            PosedPair(scene, view(i), view(j), pose(i), 0.1 * i + 0.2)
            for i, j in [(0, 1), (1, 2), (0, 2), (2, 3)]
        ]


@pytest.fixture
def rooms(tmp_path):
    (tmp_path / "pictures").mkdir()
    return Rooms(tmp_path / "pictures")


def assert_same(dataset, pair, other, other_pair):
    assert (pair.scene, np.float32(pair.overlap)) == (other_pair.scene, other_pair.overlap)
    assert (pair.view0.name, pair.view1.name) == (other_pair.view0.name, other_pair.view1.name)
    if pair.view0.name.endswith("0") and pair.view1.name.endswith("2"):  # no camera was turned
        np.testing.assert_array_equal(pair.cam1_from_cam0, other_pair.cam1_from_cam0)
        np.testing.assert_array_equal(pair.view0.K, other_pair.view0.K)
    first, second = dataset.load(pair, (32, 32)), other.load(other_pair, (32, 32))
    for name, a, b in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_the_tables_give_the_same_pairs_exactly(tmp_path, rooms):
    assert not write_tables(rooms, tmp_path / "tables", name="rooms")
    tables = Tables(tmp_path / "tables", name="rooms")
    assert tables.scenes == rooms.scenes
    assert len(tables.views) == 8  # each picture once
    for scene in rooms.scenes:
        assert len(tables.pairs(scene)) == 4
        for pair, other in zip(rooms.pairs(scene), tables.pairs(scene), strict=True):
            assert_same(rooms, pair, tables, other)


def test_nothing_in_the_tables_is_a_pickle(tmp_path, rooms, monkeypatch):
    import pickle

    write_tables(rooms, tmp_path / "tables", name="rooms")

    def refuse(*_, **__):
        raise AssertionError("something was unpickled")

    monkeypatch.setattr(pickle, "loads", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    tables = Tables(tmp_path / "tables", name="rooms")
    tables.load(tables.pairs("b")[3], SIZE)


def test_views_can_be_made_smaller_as_they_are_written(tmp_path, rooms):
    write_tables(rooms, tmp_path / "tables", name="small", size=(12, 12))
    tables = Tables(tmp_path / "tables", name="small")
    for pair, other in zip(rooms.pairs("a"), tables.pairs("a"), strict=True):
        first, second = rooms.load(pair, (12, 12)), tables.load(other, (12, 12))
        for name, a, b in zip(first._fields, first, second, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def test_tables_are_not_written_over(tmp_path, rooms):
    write_tables(rooms, tmp_path / "tables", name="rooms")
    with pytest.raises(FileExistsError, match="rooms_views is there already"):
        write_tables(rooms, tmp_path / "tables", name="rooms")
    with pytest.raises(FileNotFoundError, match="table of write_tables"):
        Tables(tmp_path / "tables", name="other")


def test_pairs_of_a_bad_file_are_left_out_only_on_request(tmp_path, rooms):
    (tmp_path / "pictures" / "a1.png").write_bytes(b"no picture")
    with pytest.raises(UnreadableFile, match=r"a1\.png"):
        write_tables(rooms, tmp_path / "tables", name="strict")
    assert not (tmp_path / "tables" / "strict_views" / VERSION).exists()
    bad = write_tables(rooms, tmp_path / "tables", name="rooms", skip_bad=True)
    assert [pathlib.Path(path).name for path in bad] == ["a1.png"]
    tables = Tables(tmp_path / "tables", name="rooms")
    kept = rooms.pairs("a")[2:]
    assert len(tables.pairs("a")) == 2
    for pair, other in zip(kept, tables.pairs("a"), strict=True):
        assert_same(rooms, pair, tables, other)


def test_grain_reads_the_table_and_goes_on_where_it_stopped(tmp_path, rooms):
    grain = pytest.importorskip("grain", reason="of the extra `tables`")
    write_tables(rooms, tmp_path / "tables", name="rooms")
    tables = Tables(tmp_path / "tables", name="rooms")

    def epoch():
        rows = grain.MapDataset.source(tables.table).shuffle(seed=3)
        return iter(rows[0::2].to_iter_dataset())  # the share of the first of two processes

    def key_of(row):
        return row["scene"], int(row["view0"]), int(row["view1"])

    rows = epoch()
    first = key_of(next(rows))
    state = rows.get_state()
    rest = [key_of(row) for row in rows]
    assert len({first, *rest}) == 4
    again = epoch()
    again.set_state(state)
    assert [key_of(row) for row in again] == rest


def test_scene_balanced_pairs_are_those_of_the_data_set_itself(tmp_path, rooms):
    write_tables(rooms, tmp_path / "tables", name="rooms")
    tables = Tables(tmp_path / "tables", name="rooms")
    batches = [PosedPairs(d, SIZE, per_scene=2).stack(range(3, 6)) for d in (rooms, tables)]
    for name in batches[0]:
        np.testing.assert_array_equal(batches[0][name], batches[1][name])
