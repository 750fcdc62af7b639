"""Encoded images, each once however many pairs it is in."""

from collections.abc import Callable, Hashable
from typing import NamedTuple

from astr_jax.images import Prepared, content_key
from astr_jax.types import Features


class EncodedView(NamedTuple):
    """An image as it lies at one turn and one size, and its features there."""

    prepared: Prepared
    features: Features
    limit: int  # of the long side: what its canvases follow


class EncodedImage:
    """An image, or a batch of one shape, at its working size; encoded where it is first needed.

    encode(prepared, shrink) makes a view. name: what errors call it.
    """

    def __init__(
        self,
        prepared: Prepared,
        encode: Callable[[Prepared, int], EncodedView],
        name: str,
    ):
        self.prepared, self.name = prepared, name
        self._encode = encode
        self._views: dict[tuple[float, int], EncodedView] = {}

    def at(self, turn: float = 0, shrink: int = 1) -> EncodedView:
        """The image lying turned by so many quarters anticlockwise, so many times smaller."""
        if (turn, shrink) not in self._views:
            self._views[turn, shrink] = self._encode(self.prepared.turned(turn), shrink)
        return self._views[turn, shrink]

    @property
    def features(self) -> Features:
        """Of the image as given."""
        return self.at().features


class EncodedImages:
    """The newest `keep` images, encoded; they are told apart by what they hold (`content_key`)."""

    def __init__(self, encode: Callable[..., EncodedImage], keep: int):
        self._encode, self._keep = encode, max(2, keep)  # both images of a pair
        self._found: dict[Hashable, EncodedImage] = {}

    def get(self, image, name: str, mask=None) -> EncodedImage:
        """The image, encoded now or before; name: what errors call it."""
        key = content_key(image), content_key(mask)
        found = self._found.pop(key, None) or self._encode(image, mask, name=name)
        self._found[key] = found  # newest last
        while len(self._found) > self._keep:
            self._found.pop(next(iter(self._found)))
        return found
