"""Where photographs were taken, by their EXIF: what phones and drones write of GPS."""

import os

import numpy as np
from jaxtyping import Float
from PIL import ExifTags

from astr_jax.images import opened

EARTH = 6_371_000.0  # metres: as a ball, which is true to half a percent of a distance


def position_of(path: str | os.PathLike) -> Float[np.ndarray, "3"]:
    """Metres from the centre of the earth; NaN without latitude and longitude, or with wrong ones.

    Raises what Pillow raises for a file that is no picture.
    """
    with opened(path) as image:
        found = image.getexif().get_ifd(ExifTags.IFD.GPSInfo)
    tags = ExifTags.GPS
    try:
        latitude = _degrees(found[tags.GPSLatitude], found.get(tags.GPSLatitudeRef), "S")
        longitude = _degrees(found[tags.GPSLongitude], found.get(tags.GPSLongitudeRef), "W")
        height = float(found.get(tags.GPSAltitude, 0.0))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return np.full(3, np.nan)
    if found.get(tags.GPSAltitudeRef) in (1, b"\x01"):
        height = -height
    if not (abs(latitude) <= 90 and abs(longitude) <= 360 and abs(height) < EARTH):
        return np.full(3, np.nan)
    up, round_ = np.radians([latitude, longitude])
    flat = np.cos(up)
    direction = np.array([flat * np.cos(round_), flat * np.sin(round_), np.sin(up)])
    return (EARTH + height) * direction


def _degrees(parts, reference: str | None, negative: str) -> float:
    """Of degrees, minutes and seconds."""
    degrees, minutes, seconds = (float(part) for part in parts)
    value = degrees + minutes / 60 + seconds / 3600
    return -value if str(reference).strip("\x00 ").upper() == negative else value
