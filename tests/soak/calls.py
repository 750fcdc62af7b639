"""Calls such as users make, drawn at random: of any size, with any options, good and bad."""

import pathlib
from collections.abc import Callable

import numpy as np
from pictures import darker, picture
from PIL import Image

import astr_jax

SIDES = 20, 150  # pixels
PLAIN = {"scales": 1, "upright": True}
BAD = (  # what each call with it is refused for
    {"img1": np.full((40, 50), np.nan, np.float32)},
    {"img1": np.zeros((3, 40, 50), np.uint8)},
    {"img1": "no/such.png"},
    {"img1": b"no picture"},
    {"mask0": np.ones((2, 3), bool)},
    {"K0": np.eye(3)},
    {"keypoints0": np.full((4, 2), np.inf)},
    {"resize": 3},
    {"scales": 3},
    {"threshold": 2.0},
    {"upright": "down"},
)


def image(rng: np.random.Generator) -> np.ndarray:
    """A picture of any size, grey or in colour, whole numbers or not."""
    grey = picture(*rng.integers(*SIDES, 2), seed=int(rng.integers(1000)))
    if rng.integers(2):
        return grey
    return np.stack([grey] * 3, -1) if rng.integers(2) else grey.astype(np.float32) / 255


def options(rng: np.random.Generator) -> dict:
    """Options of a match. Few sizes, so that few programs compile."""
    return {
        "resize": int(rng.choice((64, 128))),
        "threshold": float(rng.choice((0.0, 0.01, 0.9))),
        "max_matches": (None, 1, 40)[rng.integers(3)],
        "polish": (True, "all", False)[rng.integers(3)],
        "scales": ("auto", 1, (1, 2))[rng.integers(3)],
        "upright": ("auto", True, False)[rng.integers(3)],
        "alpha": ("drop", "mask")[rng.integers(2)],
    }


def one_pair(params, folder, rng) -> str:
    given = options(rng)
    if rng.integers(3) == 0:
        given["K0"] = given["K1"] = np.array([[90.0, 0, 40], [0, 90, 30], [0, 0, 1]])
    left = image(rng)
    mask = rng.random(left.shape[:2]) < 0.9 if rng.integers(2) else None
    astr_jax.match(params, left, image(rng), mask0=mask, **given).compact()
    return "pairs"


def files(params, folder, rng) -> str:
    """Two pictures written, read again and removed; one of them may be cut."""
    paths = [
        folder / f"{rng.integers(2**40)}.{rng.choice(('png', 'jpg', 'tif', 'webp'))}"
        for _ in range(2)
    ]
    try:
        for path in paths:
            Image.fromarray(picture(*rng.integers(*SIDES, 2))).save(path)
        if cut := rng.integers(3) == 0:
            paths[1].write_bytes(paths[1].read_bytes()[:60])
        try:
            astr_jax.match(params, *paths, **options(rng))
        except ValueError:
            return "files, cut" if cut else "files, refused"
        return "files"
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def many(params, folder, rng) -> str:
    """Pairs of a few images, bad ones among them; the generator may be left half-way."""
    images = [image(rng) for _ in range(3)] + ["no/such.png"]
    pairs = [tuple(images[k] for k in rng.integers(4, size=2)) for _ in range(4)]
    enough = int(rng.integers(1, 5))
    found = astr_jax.match_pairs(params, pairs, on_error="skip", keep=2, **options(rng))
    for number, _ in enumerate(found, 1):
        if number == enough:
            break
    return "match_pairs"


def batch(params, folder, rng) -> str:
    images = [np.stack([picture(48, 64, seed=s), picture(48, 64, seed=s + 1)]) for s in (0, 5)]
    astr_jax.match(params, *images, resize=64, polish=bool(rng.integers(2)), **PLAIN)
    return "batches"


def points(params, folder, rng) -> str:
    left = image(rng)
    own = rng.uniform(-3, 160, (int(rng.integers(0, 200)), 2))
    resize = int(rng.choice((64, 128)))
    astr_jax.match(params, left, darker(left), keypoints0=own, resize=resize, **PLAIN)
    return "keypoints0"


def refused(params, folder, rng) -> str:
    given = {"img0": picture(40, 50), "img1": picture(40, 50), "resize": 64}
    given |= BAD[rng.integers(len(BAD))]
    try:
        astr_jax.match(params, given.pop("img0"), given.pop("img1"), **given)
    except (ValueError, FileNotFoundError):
        return "refused"
    raise AssertionError(f"{sorted(given)} was not refused")


CALLS: tuple[Callable[..., str], ...] = (one_pair, one_pair, files, many, batch, points, refused)


def any_call(params, folder: pathlib.Path, rng: np.random.Generator) -> str:
    """Makes one of the calls; returns its kind. Raises what users should never see."""
    return CALLS[rng.integers(len(CALLS))](params, folder, rng)
