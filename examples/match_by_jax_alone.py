"""Matches two pictures by a file of `astr export --stablehlo`, with JAX alone: no astr_jax.

python match_by_jax_alone.py programs/match.jax left.png right.png
"""

import sys

import jax.export
import numpy as np
from PIL import Image

with open(sys.argv[1], "rb") as file:
    match = jax.export.deserialize(file.read())
_, height, width = match.in_avals[0].shape
given = {"threshold": np.float32(0.9)}
for side, path in enumerate(sys.argv[2:4]):
    picture = Image.open(path).convert("L")
    picture.thumbnail((width, height))  # shrinks it where it does not fit
    grey, usable = np.zeros((1, height, width), np.float32), np.zeros((1, height, width), bool)
    grey[0, : picture.height, : picture.width] = np.asarray(picture) / 255
    usable[0, : picture.height, : picture.width] = True
    given |= {f"image{side}": grey, f"mask{side}": usable}
found = match.call(**given)
for row in np.flatnonzero(found["valid"][0]):
    print(*found["keypoints0"][0][row], *found["keypoints1"][0][row], found["confidence"][0][row])
