"""What a configuration costs: counted against figures worked out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from astr_jax import configurations
from astr_jax.instruments import cost


def flops(function, *shapes):
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return cost._jaxpr_flops(jax.make_jaxpr(function)(*arrays).jaxpr)


def test_a_matrix_product_counts_two_for_each_term():
    assert flops(jnp.matmul, (3, 5), (5, 7)) == 2 * 3 * 5 * 7
    assert flops(lambda q, k: jnp.einsum("bnhd,bmhd->bhnm", q, k), (2, 3, 4, 5), (2, 7, 4, 5)) == (
        2 * 2 * 3 * 4 * 7 * 5
    )


def test_a_convolution_counts_two_for_each_term():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    assert flops(convolve, (1, 8, 8, 3), (3, 3, 3, 5)) == 2 * (4 * 4 * 5) * (3 * 3 * 3)


def test_loops_count_by_their_length_and_branches_by_the_longest():
    def scanned(x):
        return jax.lax.scan(lambda c, row: (c, jnp.outer(row, row) @ c), jnp.ones((4, 4)), x)[1]

    assert flops(jax.jit(scanned), (6, 4)) == 6 * 2 * 4**3

    def branched(x):
        return jax.lax.cond(x[0, 0] > 0, lambda y: y, lambda y: y @ y, x)

    assert flops(branched, (4, 4)) == 2 * 4**3
    with pytest.raises(ValueError, match="while loop"):
        flops(lambda x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: c + 1, x), (4,))


def test_parameters_are_those_of_the_model(micro_config, micro_variables):
    actual = sum(np.size(x) for x in jax.tree.leaves(micro_variables["params"]))
    assert cost.num_parameters(micro_config) == actual


def test_the_cost_of_encoding_grows_with_the_pixels(micro_config):
    one, four = (cost.count_flops(micro_config, side, side) for side in (64, 128))
    assert four.encode == pytest.approx(4 * one.encode, rel=1e-9)
    assert four.coarse > 4 * one.coarse
    assert one.total == one.encode + one.coarse + one.fine


def test_batch_norm_does_not_change_the_count(micro_config):
    folded = dataclasses.replace(micro_config.backbone, folded=True)
    assert cost.count_flops(dataclasses.replace(micro_config, backbone=folded), 64, 64) == (
        cost.count_flops(micro_config, 64, 64)
    )


def test_configurations_have_the_sizes_they_promise():
    assert cost.num_parameters(configurations.read("small").model()) <= 6_000_000
    assert cost.num_parameters(configurations.read("tiny").model()) <= 1_500_000
    assert cost.count_flops(configurations.read("tiny").model(), 240, 320).total <= 8.11e9
    paper = configurations.read("astr_megadepth").model()
    assert paper.backbone.widths == (128, 196, 256, 256, 256)
    assert (paper.aggregation.blocks, paper.backbone.fine_stride, paper.train_side) == (4, 2, 832)
