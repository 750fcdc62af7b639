"""Times the implementations: `python -m pallas_kernels.sparse_attention.bench --n 1200 4800`.

For each number of cells n (as many queries as keys, all slots filled) and each implementation it
prints the best time in ms, forward and forward + backward, and the temporary memory in MB that
the compiler plans for both (`compiled.memory_analysis()`).
"""

import argparse
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.sparse_attention.api import IMPLEMENTATIONS, sparse_attention

_PLAIN = "plain_dense"
_NAMES = (*IMPLEMENTATIONS, _PLAIN)


def make_inputs(n: int, s: int, h: int, d: int, batch: int, dtype: str) -> tuple:
    """Returns q, k, v, out's cotangent [b n h d] and cells [b n s]: spots that follow the query.

    Row i lists s distinct keys, drawn once, among the 2 s that come after key i.
    """
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(batch, n, h, d)) for _ in range(4))
    offsets = rng.permutation(min(2 * s, n))[:s]
    cells = (np.arange(n)[:, None] + offsets) % n
    cells = jnp.asarray(np.broadcast_to(cells, (batch, *cells.shape)), jnp.int32)
    return (*(jnp.asarray(x, dtype) for x in features), cells)


def measure(function, *args, repeats: int) -> tuple[float, float]:
    """Returns (best ms of one call, planned temporary MB)."""
    compiled = jax.jit(function).lower(*args).compile()
    jax.block_until_ready(compiled(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        times.append(time.perf_counter() - start)
    return 1e3 * min(times), compiled.memory_analysis().temp_size_in_bytes / 1e6


def plain_dense(q, k, v, cells):
    """What the operator replaces: all scores at once, minus infinity outside the lists."""
    seen = jnp.zeros((len(q), len(k) + 1), bool).at[jnp.arange(len(q))[:, None], cells].set(True)
    attn = jnp.einsum("nhd,mhd->hnm", q, k) * q.shape[-1] ** -0.5
    attn = jnp.where(seen[:, :-1], attn, -jnp.inf)  # the last column took the empty slots, -1
    return jnp.einsum("hnm,mhd->nhd", jax.nn.softmax(attn, axis=-1), v)


def bench_one(name: str, args: tuple, repeats: int) -> tuple[float, float, float, float]:
    """Returns ms forward, ms forward + backward, MB forward, MB forward + backward."""
    *inputs, g, cells = args
    attend = functools.partial(sparse_attention, implementation=name)
    attend = plain_dense if name == _PLAIN else attend

    def forward(q, k, v, cells):
        return jax.vmap(attend)(q, k, v, cells)

    def both(q, k, v, cells, g):
        out, pull = jax.vjp(lambda *x: forward(*x, cells), q, k, v)
        return out, pull(g)

    forward_ms, forward_mb = measure(forward, *inputs, cells, repeats=repeats)
    both_ms, both_mb = measure(both, *inputs, cells, g, repeats=repeats)
    return forward_ms, both_ms, forward_mb, both_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[300, 1200, 4800], help="cells")
    parser.add_argument("--slots", type=int, default=125, help="slots per query")
    parser.add_argument("--heads", type=int, default=2)
    parser.add_argument("--dim", type=int, default=32, help="channels per head")
    parser.add_argument("--batch", type=int, default=1, help="problems under vmap")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=_NAMES, metavar="NAME")
    o = parser.parse_args()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {vars(o)}")
    print(
        f"{'n':>6} {'implementation':14} {'forward ms':>11} {'+ backward':>11} {'MB':>7} {'MB':>7}"
    )
    for n in o.n:
        args = make_inputs(n, o.slots, o.heads, o.dim, o.batch, o.dtype)
        for name in o.only:
            ms, both_ms, mb, both_mb = bench_one(name, args, o.repeats)
            print(
                f"{n:6} {name:14} {ms:11.1f} {both_ms:11.1f} {mb:7.0f} {both_mb:7.0f}", flush=True
            )


if __name__ == "__main__":
    main()
