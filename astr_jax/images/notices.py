"""What is said of an image that is read otherwise than one may expect."""

import warnings


class ImageWarning(UserWarning):
    """An image can be matched, but not as it may seem. The text names it and says what to do."""


def notice(text: str) -> None:
    """Warns of an image. The commands print the text alone."""
    warnings.warn(text, ImageWarning, stacklevel=3)
