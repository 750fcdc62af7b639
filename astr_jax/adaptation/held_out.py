"""What of a scene is trained on, what chooses among checkpoints, and what judges the one chosen."""

import dataclasses

from astr_jax.data.scenes import Scene
from astr_jax.evaluation.studies.tracks import draw_pairs

FEWEST = 6  # photographs of a scene


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """A scene in three parts. Pairs are numbers of images of the whole scene."""

    whole: Scene
    train: Scene  # without the images that are held out
    choosing: list[tuple[int, int]]
    judging: list[tuple[int, int]]


def parted(scene: Scene, *, every: int, most: int, seed: int = 0) -> Parts:
    """Holds out every so many-th image, by turns to judge by and to choose by.

    A pair judges if one of its images was held out for that and none to choose by, and the other
    way round; at most `most` that judge are drawn, and half as many that choose. So no image that
    is held out is trained on, and what judges is not what chose. Raises ValueError for a scene that
    is too small.
    """
    count = len(scene.images)
    held = range(every // 2, count, every)
    if count < FEWEST or len(held) < 2:
        raise ValueError(
            f"the model has {count} photographs, of which every {every}th would be held out: give "
            f"{FEWEST} or more, and hold out at least two."
        )
    judges, choosers = held[0::2], held[1::2]

    def pairs_of(some: range, others: range, most: int) -> list[tuple[int, int]]:
        index, _ = scene.pairs
        rows = [bool({*pair} & {*some}) and not {*pair} & {*others} for pair in index.tolist()]
        drawn = draw_pairs(scene, most, seed, among=index[rows])
        if not drawn:
            raise ValueError(
                "the photographs that are held out share too few points with others. Give more "
                "photographs of the place, or hold out others (--every)."
            )
        return drawn

    rest = [k for k in range(count) if k not in held]
    return Parts(
        scene,
        scene.only(rest),
        pairs_of(choosers, judges, -(-most // 2)),
        pairs_of(judges, choosers, most),
    )
