"""Encoded images, each once however many pairs it is in."""

import os
from collections.abc import Callable, Hashable
from typing import NamedTuple

from astr_jax.images import Prepared
from astr_jax.types import Features


class TurnedView(NamedTuple):
    """An image as it lies at one turn, and its features there."""

    prepared: Prepared
    features: Features


class EncodedImage:
    """An image, or a batch of one shape, at its working size; encoded where it is first needed.

    name: what errors call it.
    """

    def __init__(self, prepared: Prepared, encode: Callable[[Prepared], Features], name: str):
        self.prepared, self.name = prepared, name
        self._encode, self._views = encode, {}

    def at(self, turn: int) -> TurnedView:
        """The image lying turned by so many quarters anticlockwise."""
        if turn not in self._views:
            prepared = self.prepared.turned(turn)
            self._views[turn] = TurnedView(prepared, self._encode(prepared))
        return self._views[turn]

    @property
    def features(self) -> Features:
        """Of the image as given."""
        return self.at(0).features


class EncodedImages:
    """The newest `keep` images, encoded: paths are told apart by name, others by identity."""

    def __init__(self, encode: Callable[..., EncodedImage], keep: int):
        self._encode, self._keep = encode, max(2, keep)  # both images of a pair
        self._found: dict[Hashable, tuple[object, EncodedImage]] = {}

    def get(self, image, name: str) -> EncodedImage:
        """The image, encoded now or before; name: what errors call it."""
        key = os.fspath(image) if isinstance(image, str | os.PathLike) else id(image)
        # The image itself is kept too, so that its identity is not given to another one.
        found = self._found.pop(key, None) or (image, self._encode(image, name=name))
        self._found[key] = found  # newest last
        while len(self._found) > self._keep:
            self._found.pop(next(iter(self._found)))
        return found[1]
