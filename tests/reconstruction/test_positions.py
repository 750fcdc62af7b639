"""Pairs by where photographs were taken."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from astr_jax.cli import main
from astr_jax.reconstruction.pairs import nearest
from astr_jax.reconstruction.positions import position_of


def photograph(path, latitude=None, longitude=None, height=0.0):
    """A picture whose EXIF says where it was taken, in degrees; south and west are negative."""
    image = Image.new("L", (64, 48))
    exif, tags = image.getexif(), ExifTags.GPS
    if latitude is not None:
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        gps[tags.GPSLatitudeRef] = "S" if latitude < 0 else "N"
        gps[tags.GPSLongitudeRef] = "W" if longitude < 0 else "E"
        gps[tags.GPSLatitude], gps[tags.GPSLongitude] = map(sexagesimal, (latitude, longitude))
        gps[tags.GPSAltitude] = abs(height)
        gps[tags.GPSAltitudeRef] = b"\x01" if height < 0 else b"\x00"
    image.save(path, exif=exif)
    return path


def sexagesimal(degrees):
    whole = abs(degrees)
    return (float(int(whole)), float(int(whole * 60 % 60)), round(whole * 3600 % 60, 4))


def test_distances_are_in_metres_on_both_sides_of_every_line(tmp_path):
    def away(first, second):
        places = [position_of(photograph(tmp_path / "a.jpg", *place)) for place in (first, second)]
        return np.linalg.norm(places[1] - places[0])

    assert away((48.8, 2.3), (48.801, 2.3)) == pytest.approx(111.2, rel=0.01)
    assert away((60.0, 2.3), (60.0, 2.301)) == pytest.approx(55.6, rel=0.01)
    assert away((-0.0005, -0.0005), (0.0005, 0.0005)) == pytest.approx(157.2, rel=0.01)
    assert away((10.0, 179.9995), (10.0, -179.9995)) == pytest.approx(109.5, rel=0.01)
    assert away((10.0, 20.0, -30.0), (10.0, 20.0, 70.0)) == pytest.approx(100.0, rel=0.01)


def test_each_is_paired_with_the_nearest_and_none_too_far():
    places = np.array([[0, 0, 0], [10, 0, 0], [35, 0, 0], [36, 0, 0], [np.nan] * 3]) + 6e6
    names = list("abcde")
    assert nearest(names, places, most=1) == [("a", "b"), ("c", "d")]
    assert set(nearest(names, places, most=2)) == {
        ("a", "b"),
        ("b", "c"),
        ("a", "c"),
        ("c", "d"),
        ("b", "d"),
    }
    assert nearest(names, places, most=2, within=5.0) == [("c", "d")]
    with pytest.raises(ValueError, match="within must be above 0"):
        nearest(names, places, most=2, within=0.0)


def test_pairs_by_position_are_listed_by_the_command(tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, latitude in enumerate((48.0, 48.0001, 48.1, 48.1001)):
        photograph(photos / f"{number}.jpg", latitude, 2.0)
    photograph(photos / "x.jpg")
    words = ["pairs", str(photos), "--out", str(tmp_path / "out"), "--pairs", "position"]
    assert main([*words, "--within", "100"]) == 0
    lines = (tmp_path / "out" / "pairs.txt").read_text().splitlines()
    assert lines == ["0.jpg\t1.jpg", "2.jpg\t3.jpg"]
    assert "1 photographs without a position are in no pair: x.jpg" in capsys.readouterr().err
    for number in range(3):
        photograph(photos / f"{number}.jpg")
    assert main(words) == 2
    assert "4 of 5 photographs have no GPS position" in capsys.readouterr().err
