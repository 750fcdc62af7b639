"""What the configurations of several kinds of training pairs check alike."""

LEAST_SIDE = 32  # pixels of an image


def check_sides(config) -> None:
    """Raises ValueError where the height or the width of a configuration's images is too small."""
    if min(config.height, config.width) < LEAST_SIDE:
        raise ValueError(
            f"height and width must be at least {LEAST_SIDE}; got {config.height} x {config.width}."
        )


def check_shares(config, *names: str) -> None:
    """Raises ValueError where one of these fields of a configuration is not in [0, 1]."""
    for name in names:
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name} must be in [0, 1]; got {getattr(config, name)}.")


def check_difficulty(difficulty: float) -> None:
    """Raises ValueError where it is not in [0, 1]."""
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty must be in [0, 1]; got {difficulty}.")
