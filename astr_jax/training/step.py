"""One step of training: the gradient of a batch, and the update (docs/paper.md §8)."""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Float, Int, PyTree

from astr_jax.config import ModelConfig
from astr_jax.supervision import PairBatch
from astr_jax.training import devices
from astr_jax.training.batch_losses import loss_and_scores
from astr_jax.training.experiment import Experiment, TrainConfig
from astr_jax.training.optimiser import optimizer_of
from pallas_kernels.arrays import Array


@flax.struct.dataclass
class TrainState:
    """All that a checkpoint must hold for a run to go on as if never stopped."""

    step: Int[Array, ""]
    params: PyTree
    batch_stats: PyTree
    opt_state: optax.OptState
    ema: PyTree  # running mean of params


def make_state(variables: PyTree, optimizer, first_step: int = 0) -> TrainState:
    """The state before the first step that is done."""
    params = variables["params"]
    return TrainState(
        step=jnp.int32(first_step),
        params=params,
        batch_stats=variables["batch_stats"],
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params),
    )


def keys_for_step(seed: int, step: Int[Array, ""] | int, pairs: int) -> dict[str, Array]:
    """One key per use and pair, by name. The run's root key is never advanced, only folded with
    the step: step 1000 draws the same numbers after a restart."""
    names = ("coarse", "fine", "ratio")
    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), step), (len(names), pairs))
    return dict(zip(names, keys, strict=True))


def make_train_step(
    model_config: ModelConfig, config: TrainConfig, optimizer, *, fine: bool, parts: int = 1
):
    """Returns train_step(state, batch, rate) -> (state, scores), to be compiled once per image
    size.

    rate: a factor on the optimiser's learning rate. parts: micro-batches that the batch is computed
    in. A step whose loss or gradient is not finite leaves the state as it is, but for the step
    number, and says so by scores["bad"] = 1.
    """
    gradient_of = make_gradient(model_config, config, fine=fine, parts=parts)

    def train_step(
        state: TrainState, batch: PairBatch, rate: Float[Array, ""] | float = 1.0
    ) -> tuple[TrainState, dict[str, Array]]:
        keys = keys_for_step(config.seed, state.step, len(batch))
        gradient, scores, batch_stats = gradient_of(state.params, state.batch_stats, batch, keys)
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        updates = jax.tree.map(lambda u: rate * u, updates)
        params = optax.apply_updates(state.params, updates)
        decay = jnp.minimum(config.ema_decay, (1 + state.step) / (10 + state.step))
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema, params)
        good = jnp.isfinite(norm) & jnp.isfinite(scores["loss"])
        updated = state.replace(
            params=params, batch_stats=batch_stats, opt_state=opt_state, ema=ema
        )
        state = jax.tree.map(lambda new, old: jnp.where(good, new, old), updated, state)
        scores |= {f"gradient_norm/{part}": optax.tree.norm(g) for part, g in gradient.items()}
        scores |= {"gradient_norm": norm, "bad": 1.0 - good.astype(jnp.float32)}
        return state.replace(step=state.step + 1), scores

    return train_step


def make_gradient(model_config: ModelConfig, config: TrainConfig, *, fine: bool, parts: int):
    """Returns gradient(params, batch_stats, batch, keys) -> (gradient, scores, batch_stats), the
    means over so many micro-batches, computed one after the other."""
    slope = jax.grad(
        functools.partial(
            loss_and_scores, model_config=model_config, config=config, fine=fine, train=True
        ),
        has_aux=True,
    )

    def of_one(params, batch_stats, batch, keys):
        gradient, (scores, batch_stats) = slope(params, batch_stats, batch, keys)
        return gradient, scores, batch_stats

    def of_all(params, batch_stats, batch, keys):
        def add(carry, given):
            total, batch_stats = carry
            gradient, scores, batch_stats = of_one(params, batch_stats, *given)
            return (jax.tree.map(jnp.add, total, gradient), batch_stats), scores

        def in_parts(x):  # the k-th micro-batch has pairs k, k + parts, ...: it stays where it is
            return jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0)

        zero = jax.tree.map(jnp.zeros_like, params)
        carry, scores = jax.lax.scan(
            add, (zero, batch_stats), jax.tree.map(in_parts, (batch, keys))
        )
        gradient = jax.tree.map(lambda x: x / parts, carry[0])
        # A median error of a micro-batch without a match is no number; the others must be.
        medians = ("fine_px", "flow_px")
        means = {
            k: (jnp.nanmean if k.startswith(medians) else jnp.mean)(v) for k, v in scores.items()
        }
        return gradient, means, carry[1]

    return of_one if parts == 1 else of_all


@functools.lru_cache
def compiled_step(experiment: Experiment, mesh: Mesh, *, fine: bool, parts: int):
    """The training step on a mesh; compiled once for each batch shape and kind of pairs, however
    many stages and runs of the process take it."""
    step = make_train_step(
        experiment.model,
        experiment.train,
        optimizer_of(experiment),
        fine=fine,
        parts=parts,
    )

    def on_mesh(state, batch, rate):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return step(state, batch, rate)

    same, split = devices.whole(mesh), devices.split(mesh)
    return jax.jit(
        on_mesh, in_shardings=(same, split, same), out_shardings=(same, same), donate_argnums=0
    )
