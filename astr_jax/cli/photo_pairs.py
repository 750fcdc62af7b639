"""What the commands of reconstruction share of lists of pairs: options, and how they are made."""

import argparse

import numpy as np

from astr_jax import api
from astr_jax.cli.reconstruction import progress
from astr_jax.images import notice
from astr_jax.reconstruction import pairs as pair_lists
from astr_jax.reconstruction import pipeline
from astr_jax.reconstruction.photos import Photo
from astr_jax.reconstruction.positions import position_of

FEW = 60  # photographs: up to here each is matched with each


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Which photographs are matched."""
    add = parser.add_argument
    add(
        "--pairs",
        metavar="HOW",
        help="exhaustive, sequential (a video, by name), similar (each with those that look most "
        "like it), position (with the nearest by EXIF's GPS), or a file with two names a line "
        f"[exhaustive up to {FEW}, then similar]",
    )
    add("--window", type=int, default=10, metavar="N", help="sequential: the next N of each [10]")
    add(
        "--loop-every",
        type=int,
        default=0,
        metavar="N",
        help="sequential: also match every Nth with every Nth, to close loops [0: not]",
    )
    add("--model", metavar="MODEL", help="pairs by what photographs share in this COLMAP model")
    add("--within", type=float, metavar="M", help="position: no further off than so many metres")
    add(
        "--most",
        type=int,
        default=20,
        metavar="N",
        help="similar, position, --model: partners [20]",
    )


def list_pairs(options, photos: tuple[Photo, ...], place: pipeline.Workspace):
    """The pairs asked for, written to pairs.txt; those of pairs.txt where nothing is asked."""
    names, how = [photo.name for photo in photos], options.pairs
    if how is None and options.model is None and place.pairs.is_file():
        return pair_lists.read_pairs(place.pairs, names)
    if how is not None and options.model is not None:
        raise ValueError("--pairs and --model both say which pairs: give one of them.")
    if options.model is not None:
        found = pair_lists.covisible_in_model(options.model, names, most=options.most)
    elif how == "sequential":
        found = pair_lists.sequential(names, window=options.window, loop_every=options.loop_every)
    elif how == "exhaustive" or (how is None and len(names) <= FEW):
        found = pair_lists.exhaustive(names)
    elif how == "position":
        found = near_pairs(options, photos)
    elif how in (None, "similar"):
        found = similar_pairs(options, photos)
    else:
        found = pair_lists.read_pairs(how, names)
    pair_lists.write_pairs(place.pairs, found)
    return found


def near_pairs(options, photos: tuple[Photo, ...]):
    """Each with those that were taken nearest to it. Raises ValueError where hardly one says."""
    places = np.stack([position_of(photo.path) for photo in photos])
    unknown = [p.name for p, place in zip(photos, places, strict=True) if np.isnan(place).any()]
    if len(photos) - len(unknown) < 2:
        raise ValueError(
            f"{len(unknown)} of {len(photos)} photographs have no GPS position in EXIF, the first: "
            f"{unknown[0]}. Take other pairs."
        )
    if unknown:
        notice(f"{len(unknown)} photographs without a position are in no pair: {unknown[0]} ...")
    names = [photo.name for photo in photos]
    return pair_lists.nearest(names, places, most=options.most, within=options.within)


def similar_pairs(options, photos: tuple[Photo, ...]):
    """Each with those that look most like it, by the encoder's features."""
    from astr_jax.reconstruction import retrieval

    params = api.load(getattr(options, "weights", None))
    with progress("look", len(photos)) as (bar, task):
        paths = [photo.path for photo in photos]
        found = retrieval.describe(params, paths, lambda: bar.advance(task))
    names = [photo.name for photo in photos]
    return pair_lists.most_similar(names, retrieval.similarity(found), most=options.most)


def listed_pairs(photos: tuple[Photo, ...], place: pipeline.Workspace):
    """The pairs of pairs.txt. Raises FileNotFoundError."""
    if not place.pairs.is_file():
        raise FileNotFoundError(f"there is no {place.pairs}; astr pairs makes it.")
    return pair_lists.read_pairs(place.pairs, [photo.name for photo in photos])
