"""Learned sparsity: a small low-rank head predicts who looks where, and the operator takes it.

    python examples/learned_lists.py

Every query has one key that holds what it wants, told by four of many channels among louder ones. A
head of rank 4 learns on other queries and keys to score the right pairs. Then each query attends to
its 16 best keys alone, as `Lists`; with the head's scores as weights, the operator takes from it
how likely each key is, too. It prints how often the right key is in the list, and the error of the
result, beside that of attention to all keys.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels.sparse_attention import Lists, attend

N, CHANNELS, RANK, SLOTS = 512, 32, 4, 16
STEPS, RATE, MOMENTUM = 150, 0.02, 0.9
HIDDEN = np.linalg.qr(np.random.default_rng(9).normal(size=(CHANNELS, CHANNELS)))[0]


def problem(seed):
    """Features of queries and keys, the keys' values, and the key that each query wants."""
    rng = np.random.default_rng(seed)
    secret, true = 2.0 * rng.normal(size=(N, RANK)), rng.permutation(N)
    f0, f1 = (3.0 * rng.normal(size=(N, CHANNELS)) for _ in range(2))
    f0[:, :RANK], f1[:, :RANK] = secret[true], secret
    f0, f1 = (jnp.asarray(f @ HIDDEN, jnp.float32) for f in (f0, f1))
    return f0, f1, jnp.asarray(rng.normal(size=(N, 1, 8)), jnp.float32), jnp.asarray(true)


def scores(head, f0, f1):
    """Of all pairs, of rank 4: less the squared distance of what the head sees of both."""
    a, b = f0 @ head["a"], f1 @ head["b"]
    return 2 * a @ b.T - (b**2).sum(axis=1)[None]


def learned():
    """The head, by cross entropy on pairs of its own."""
    f0, f1, _, true = problem(1)
    keys = jax.random.split(jax.random.key(0))
    head = {
        name: 0.1 * jax.random.normal(key, (CHANNELS, RANK))
        for name, key in zip("ab", keys, strict=True)
    }

    def loss(head):
        log_share = jax.nn.log_softmax(scores(head, f0, f1), axis=1)
        return -log_share[jnp.arange(N), true].mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(head, speed):
        slope = jax.grad(loss)(head)
        speed = jax.tree.map(lambda s, g: MOMENTUM * s - RATE * g, speed, slope)
        return jax.tree.map(jnp.add, head, speed), speed

    speed = jax.tree.map(jnp.zeros_like, head)
    for _ in range(STEPS):
        head, speed = step(head, speed)
    return head


def main() -> None:
    head, (f0, f1, values, true) = learned(), problem(2)
    every = scores(head, f0, f1)
    best, cells = jax.lax.top_k(every, SLOTS)
    weights = jnp.exp(best - best[:, :1])
    cells, wanted = cells.astype(jnp.int32), values[true]
    found = (cells == true[:, None]).any(axis=1).mean()
    print(f"the right key is among the {SLOTS} of {N} for {found:.1%} of the queries")
    everything = Lists(jnp.broadcast_to(jnp.arange(N, dtype=jnp.int32), (N, N)), N)
    q, k = (jnp.zeros((N, 1, CHANNELS)).at[:, 0].set(0.2 * f) for f in (f0, f1))
    v = jnp.pad(values, ((0, 0), (0, 0), (0, CHANNELS - values.shape[2])))
    for name, index in (
        ("attention to all keys", everything),
        ("to the lists", Lists(cells, N)),
        ("to the lists, weighted", Lists(cells, N, weights)),
    ):
        out = jax.jit(attend)(q, k, v, index)[..., : values.shape[2]]
        print(f"{name:23} mean squared error {((out - wanted) ** 2).mean():.3f}")


if __name__ == "__main__":
    main()
