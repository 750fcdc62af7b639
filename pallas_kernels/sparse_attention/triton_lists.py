"""The general operator forward in Triton itself, by way of jax-triton (the extra `triton`).

The insurance for the day when Pallas drops its Triton backend. The way back is the gradient of the
definition, in plain XLA. NVIDIA GPUs only; nothing here is imported before it is asked for.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.sparse_attention.pairs import NOTHING, Lists
from pallas_kernels.sparse_attention.segment_sum import segment_sum_lists
from pallas_kernels.target import target_platform

CHUNK = 32  # slots at a time


def triton_lists_attention(q, k, v, lists: Lists, bias=None):
    """(q [nq h d], k [nk h d], v, lists) -> out [nq h d]. Raises ImportError without jax-triton,
    RuntimeError where there is no NVIDIA GPU, and ValueError for a bias, the way of weights."""
    if bias is not None:
        raise ValueError('implementation="triton" takes no weights. Use None or "pallas_lists".')
    if target_platform() != "gpu":
        raise RuntimeError(
            'implementation="triton" needs an NVIDIA GPU; this is '
            f'"{target_platform()}". Use None, "gather" or "segment_sum".'
        )
    try:
        import jax_triton
        import triton
        import triton.language as tl
    except ImportError as error:
        raise ImportError(
            'implementation="triton" needs jax-triton: pip install "astr_jax[triton]".'
        ) from error
    return _differentiable(_build(jax_triton, triton, tl))(q, k, v, lists.cells)


def _differentiable(forward):
    """With the gradient of the definition; a vmapped batch runs one problem after the other."""
    forward = jax.custom_batching.sequential_vmap(forward)
    attention = jax.custom_vjp(forward)

    def run(*inputs):
        return forward(*inputs), inputs

    def pull(inputs, g):
        *features, cells = inputs
        _, gradient = jax.vjp(lambda *x: segment_sum_lists(*x, cells), *features)
        return *gradient(g), None

    attention.defvjp(run, pull)
    return attention


def _build(jax_triton, triton, tl):
    """Returns (q, k, v, cells) -> out by a Triton kernel."""

    @triton.jit
    def kernel(
        q_ptr,
        k_ptr,
        v_ptr,
        cells_ptr,
        out_ptr,
        slots: tl.constexpr,
        heads: tl.constexpr,
        channels: tl.constexpr,
        padded: tl.constexpr,
        scale: tl.constexpr,
        chunk: tl.constexpr,
        nothing: tl.constexpr,
    ):
        query, head = tl.program_id(0), tl.program_id(1)
        channel = tl.arange(0, padded)
        real = channel < channels
        row = (query * heads + head) * channels
        q = tl.load(q_ptr + row + channel, mask=real, other=0.0).to(tl.float32) * scale
        top = tl.full((), nothing, tl.float32)
        total = tl.full((), 0.0, tl.float32)
        value = tl.zeros((padded,), tl.float32)
        for first in range(0, slots, chunk):
            slot = first + tl.arange(0, chunk)
            cell = tl.load(cells_ptr + query * slots + slot, mask=slot < slots, other=-1)
            listed = cell >= 0
            place = (tl.where(listed, cell, 0) * heads + head)[:, None] * channels + channel[None]
            mask = listed[:, None] & real[None]
            k = tl.load(k_ptr + place, mask=mask, other=0.0).to(tl.float32)
            score = tl.where(listed, tl.sum(q[None] * k, axis=1), nothing)
            new_top = tl.maximum(top, tl.max(score, axis=0))
            weight = tl.where(listed, tl.exp(score - new_top), 0.0)
            v = tl.load(v_ptr + place, mask=mask, other=0.0).to(tl.float32)
            shrink = tl.exp(top - new_top)
            total = total * shrink + tl.sum(weight, axis=0)
            value = value * shrink + tl.sum(weight[:, None] * v, axis=0)
            top = new_top
        value = value / tl.where(total > 0, total, 1.0)
        tl.store(out_ptr + row + channel, value.to(out_ptr.dtype.element_ty), mask=real)

    def forward(q, k, v, cells):
        nq, h, d = q.shape
        return jax_triton.triton_call(
            q,
            k,
            v,
            cells.astype(jnp.int32),
            kernel=kernel,
            out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
            grid=(nq, h),
            num_warps=2,
            slots=cells.shape[1],
            heads=h,
            channels=d,
            padded=triton.next_power_of_2(d),
            scale=d**-0.5,
            chunk=CHUNK,
            nothing=NOTHING,
        )

    return forward
