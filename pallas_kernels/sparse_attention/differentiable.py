"""Makes a differentiable function of one that goes forward and one that goes backward."""

from collections.abc import Callable

import jax


def differentiable(forward: Callable, backward: Callable) -> Callable:
    """Returns (q, k, v, index) -> out, differentiable in q, k and v in reverse mode.

    forward: (q, k, v, index) -> out, lse; lse [nq h] float32 is the log-sum-exp of the scores.
    backward: (q, k, v, out, lse, g, index) -> dq, dk, dv, each with the dtype of its input. index:
    a pytree of integers and booleans that says who looks where; it has no gradient.
    """

    @jax.custom_vjp
    def attention(q, k, v, index):
        return forward(q, k, v, index)[0]

    def run(q, k, v, index):
        out, lse = forward(q, k, v, index)
        return out, (q, k, v, out, lse, index)

    def pull(saved, g):
        *arrays, index = saved
        return *backward(*arrays, g, index), None

    attention.defvjp(run, pull)
    return jax.jit(attention)


def differentiable_with_bias(forward: Callable, backward: Callable) -> Callable:
    """Returns (q, k, v, bias, index) -> out, differentiable in q, k, v and bias in reverse mode.

    bias: one number a pair, added to its score: the logarithm of its weight. forward: (q, k, v,
    index, bias) -> out, lse. backward: (q, k, v, out, lse, g, index, bias) -> dq, dk, dv, dbias.
    """

    @jax.custom_vjp
    def attention(q, k, v, bias, index):
        return forward(q, k, v, index, bias)[0]

    def run(q, k, v, bias, index):
        out, lse = forward(q, k, v, index, bias)
        return out, (q, k, v, out, lse, bias, index)

    def pull(saved, g):
        *arrays, bias, index = saved
        return *backward(*arrays, g, index, bias), None

    attention.defvjp(run, pull)
    return jax.jit(attention)


def differentiable_log_sum_exps(forward: Callable, backward: Callable) -> Callable:
    """Returns (f0, f1, index) -> (lse0, lse1), differentiable in f0 and f1 in reverse mode.

    forward: that function. backward: (f0, f1, lse0, lse1, g0, g1, index) -> df0, df1.
    """

    @jax.custom_vjp
    def log_sum_exps(f0, f1, index):
        return forward(f0, f1, index)

    def run(f0, f1, index):
        lse = forward(f0, f1, index)
        return lse, (f0, f1, *lse, index)

    def pull(saved, cotangents):
        *arrays, index = saved
        return *backward(*arrays, *cotangents, index), None

    log_sum_exps.defvjp(run, pull)
    return jax.jit(log_sum_exps)
