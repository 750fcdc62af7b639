import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax.config import AggregationConfig
from astr_jax.model.spots import select_centres
from astr_jax.ops.matching import EMPTY, BestMatches

HEIGHT, WIDTH, C, KEYS = 5, 6, 4, (6, 7)
CONFIG = AggregationConfig(neighbourhood=3, supporters=3, window=3)


def make_best(rng, share=0.8):
    """Matches and confidences of every cell; some have none."""
    n = HEIGHT * WIDTH
    some = rng.random(n) < share
    cell = np.where(some, rng.integers(0, 42, n), -1).astype(np.int32)
    return BestMatches(cell, np.where(some, np.log(rng.random(n)), EMPTY).astype(np.float32))


def plain_centres(features, best, config):
    """Steps 2 to 4 of docs/paper.md §4, with the window's softmax as it is written."""
    confidence, reach, result = np.exp(best.log_prob.astype(float)), config.neighbourhood // 2, []
    for y, x in np.ndindex(HEIGHT, WIDTH):
        window = [
            (v, u)
            for v in range(max(y - reach, 0), min(y + reach + 1, HEIGHT))
            for u in range(max(x - reach, 0), min(x + reach + 1, WIDTH))
        ]
        score = [features[y, x].astype(float) @ features[at] / np.sqrt(C) for at in window]
        similarity = np.exp(score) / np.exp(score).sum()
        neighbours = [at for at in window if at != (y, x)]
        selection = {
            v * WIDTH + u: similarity[window.index((v, u))] * confidence[v * WIDTH + u]
            for v, u in neighbours
        }
        ranked = sorted(selection, key=selection.get, reverse=True)[: config.supporters]
        chosen = [y * WIDTH + x] + [n for n in ranked if selection[n] > 0]
        result.append(sorted(best.cell[n] for n in chosen if best.cell[n] >= 0))
    return result


@pytest.mark.parametrize("share", [1.0, 0.8, 0.2, 0.0])
def test_centres_are_the_matches_of_the_best_supported_neighbours(rng, share):
    features = rng.normal(size=(HEIGHT, WIDTH, C)).astype(np.float32)
    best = make_best(rng, share)
    select = jax.jit(functools.partial(select_centres, config=CONFIG))
    centres = np.asarray(select(features, best))
    assert centres.shape == (HEIGHT * WIDTH, 4)
    np.testing.assert_array_equal(centres[:, 0], best.cell)  # the query itself comes first
    for row, expected in zip(centres, plain_centres(features, best, CONFIG), strict=True):
        assert sorted(row[row >= 0]) == expected


def test_selection_carries_no_gradient(rng):
    features = rng.normal(size=(HEIGHT, WIDTH, C)).astype(np.float32)
    best = make_best(rng)

    def total(features):
        return select_centres(features, best, CONFIG).astype(jnp.float32).sum()

    assert (jax.grad(total)(features) == 0).all()
