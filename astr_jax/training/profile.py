"""Where the time of training goes: pairs per second, the cost of the data, the parts of the step.

The time of a part is that of its operations, forward and backward, as JAX's profiler sees them.
"""

import collections
import dataclasses
import gzip
import json
import pathlib
import re
import tempfile
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from astr_jax.training import devices
from astr_jax.training.batches import Batches, Sources, posed_pairs
from astr_jax.training.experiment import Experiment, Stage
from astr_jax.training.speed import Speed
from astr_jax.training.start import first_state
from astr_jax.training.step import compiled_step

PARTS = (  # of the name of an operation, the first that fits
    (r"backbone", "backbone"),
    (r"aggregation/spot8_\d+/(vmap|jit|shard)", "spot attention"),
    (r"aggregation\.match", "spots and their matching"),
    (r"aggregation", "aggregation: layers and fusion"),
    (r"fine", "fine stage"),
    (r"ASTR\.coarse|log_prob|dual_softmax", "coarse matching"),
    (r"ASTR\.encode", "positional encoding, masks"),
)
STEPS = 5  # timed
OTHER = "losses, optimiser, the rest"
UNNAMED = "what the compiler gives no name"


def part_of(operation: str) -> str:
    """The part of the model that an operation belongs to, by its name."""
    if not operation:
        return UNNAMED
    return next((part for pattern, part in PARTS if re.search(pattern, operation)), OTHER)


def own_times(events: Sequence[dict]) -> dict[str, float]:
    """Microseconds of each operation (its name in the program), without those within it."""
    own, open_events = collections.Counter(), {}
    for event in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        stack = open_events.setdefault((event["pid"], event["tid"]), [])
        while stack and stack[-1][0] <= event["ts"]:
            stack.pop()
        name = event["args"]["hlo_op"]
        own[name] += event["dur"]
        if stack:
            own[stack[-1][1]] -= event["dur"]
        stack.append((event["ts"] + event["dur"], name))
    return dict(own)


def traced(call: Callable[[], object]) -> dict[str, float]:
    """Runs call and returns own_times of the operations that it ran."""
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call())
        (path,) = pathlib.Path(folder).rglob("*.trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return own_times([e for e in events if "hlo_op" in e.get("args", {}) and "dur" in e])


def names_of(program: str) -> dict[str, str]:
    """The JAX name of each operation of a compiled program's text; of a fusion without one, the
    name of what is fused."""
    names, inside, calls, computation = {}, {}, {}, ""
    for line in program.splitlines():
        if line.endswith("{") and (start := re.match(r"(?:ENTRY )?%?([\w.\-]+) ", line)):
            computation = start[1]
        if (operation := re.match(r"\s+(?:ROOT )?%?([\w.\-]+) = ", line)) is None:
            continue
        if name := re.search(r'op_name="([^"]*)"', line):
            names[operation[1]] = name[1]
            inside.setdefault(computation, name[1])
        elif called := re.search(r"calls=%?([\w.\-]+)", line):
            calls[operation[1]] = called[1]
    return {k: inside[c] for k, c in calls.items() if c in inside} | names


@dataclasses.dataclass(frozen=True)
class Cost:
    """Medians, of one step."""

    pairs_per_second: float  # of the step alone
    step_cpu: float  # seconds of CPU time a pair
    data_cpu: dict[str, float]  # the same, by kind of pairs
    share_of_peak: float | None


def profile(experiment: Experiment, sources: Sources, size: tuple[int, int], mesh: Mesh) -> None:
    """Prints what a step of the experiment's last stage costs at a size (h, w), and its data."""
    stage = dataclasses.replace(experiment.stages[-1], height=size[0], width=size[1])
    devices.check_split(mesh, stage.pairs_at_once)
    report(*measure(experiment, stage, sources, mesh), stage, mesh)


def measure(experiment: Experiment, stage: Stage, sources: Sources, mesh: Mesh):
    """Times the step and the data apart. Returns the cost, and the shares of the parts."""
    posed = None
    if sources.posed is not None:
        posed = posed_pairs(sources.posed, stage, experiment, skip_bad=sources.skip_bad)
    given = {"photos": sources.photos, "scenes": sources.scenes, "posed": posed}
    batches = Batches(experiment, stage, mesh, lambda step: 0.5, **given)
    data_cpu = {}
    for name, source in batches.sources.items():

        def make(step, source=source):
            return devices.make_split(mesh, stage.batch_size, lambda *rows: source(step, *rows))

        jax.block_until_ready(make(0))
        data_cpu[name] = np.median([clocked(lambda k=k: make(k))[1] for k in range(1, 4)])
    batch, state = batches.batch(0), first_state(experiment, mesh)
    train_step = compiled_step(experiment, mesh, fine=stage.fine, parts=stage.parts)
    step = train_step.lower(state, batch, 1.0).compile()
    state, _ = step(state, batch, 1.0)
    speed, times = Speed(experiment.model, stage, mesh), []
    for _ in range(STEPS):
        state, wall, cpu = run_step(step, state, batch)
        times.append((wall, cpu))
    wall, cpu = np.median(times, axis=0)
    names = names_of(step.as_text())
    parts = collections.Counter()
    for operation, duration in traced(lambda: step(state, batch, 1.0)).items():
        parts[part_of(names.get(operation, ""))] += duration
    rate = stage.batch_size / wall
    cost = Cost(
        rate,
        cpu / stage.batch_size,
        {name: value / stage.batch_size for name, value in data_cpu.items()},
        rate / speed.pairs_at_peak if speed.pairs_at_peak else None,
    )
    return cost, {name: value / sum(parts.values()) for name, value in parts.most_common()}


def clocked(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall and of CPU time until the call's result is ready."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - wall, time.process_time() - cpu


def run_step(step, state, batch):
    """One step: the state after it, and its wall and CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    state, scores = step(state, batch, 1.0)
    jax.block_until_ready((state, scores))
    return state, time.perf_counter() - wall, time.process_time() - cpu


def report(cost: Cost, parts: dict[str, float], stage: Stage, mesh: Mesh) -> None:
    """Prints what was measured."""
    console = Console()
    used = f"{mesh.size} x {mesh.devices.flat[0].device_kind}"
    console.print(
        f"{stage.width} x {stage.height}, {stage.batch_size} pairs a step, {used}: "
        f"{cost.pairs_per_second:.2f} pairs/s, {1e3 * cost.step_cpu:.0f} ms of CPU time a pair"
    )
    if cost.share_of_peak is not None:
        console.print(f"{cost.share_of_peak:.1%} of the devices' peak arithmetic")
    for name, seconds in cost.data_cpu.items():
        share = seconds / (seconds + cost.step_cpu)
        console.print(f"{name}: {1e3 * seconds:.1f} ms of CPU time a pair, {share:.1%} of all")
    table = Table("part of the step", "share")
    for name, share in parts.items():
        table.add_row(name, f"{share:.1%}")
    console.print(table)
