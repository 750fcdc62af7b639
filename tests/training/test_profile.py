"""What the profile says of a step adds up, and names its parts."""

import jax
import jax.numpy as jnp
import pytest

from astr_jax.training import profile
from astr_jax.training.experiment import Stage
from astr_jax.training.profile import OTHER, UNNAMED, names_of, own_times, part_of, traced
from astr_jax.training.speed import Speed, peak_of


def event(name, start, duration, thread=1):
    return {"ts": start, "dur": duration, "pid": 1, "tid": thread, "args": {"hlo_op": name}}


def test_the_time_of_a_loop_is_without_that_of_its_body():
    events = [
        event("while.1", 0, 100),
        event("dot.2", 10, 30),
        event("dot.2", 50, 30),
        event("add.3", 55, 5),
        event("dot.2", 0, 7, thread=2),
    ]
    assert own_times(events) == {"while.1": 40, "dot.2": 62, "add.3": 5}


def test_a_fusion_without_a_name_has_that_of_what_is_fused():
    program = """HloModule jit_step
%fused (p: f32[2]) -> f32[2] {
  %p = f32[2] parameter(0)
  ROOT %add.1 = f32[2] add(%p, %p), metadata={op_name="jit(step)/backbone/add"}
}

ENTRY %main (x: f32[2]) -> f32[2] {
  %x = f32[2] parameter(0)
  %fusion.1 = f32[2] fusion(%x), kind=kLoop, calls=%fused
  ROOT %mul.2 = f32[2] multiply(%fusion.1, %x), metadata={op_name="jit(step)/loss/mul"}
}
"""
    names = names_of(program)
    assert names["fusion.1"] == "jit(step)/backbone/add"
    assert names["mul.2"] == "jit(step)/loss/mul"
    assert "x" not in names


@pytest.mark.parametrize(
    ("operation", "part"),
    [
        ("jit(f)/jvp(ASTR.encode)/backbone/stem/conv/conv", "backbone"),
        ("jit(f)/jvp(ASTR.coarse)/aggregation/spot8_0/vmap(jit(dense))/dot", "spot attention"),
        ("jit(f)/jvp(ASTR.coarse)/aggregation/aggregation.match/vmap()/dot", "spots and their"),
        ("jit(f)/jvp(ASTR.coarse)/aggregation/spot8_1/mix/conv", "aggregation: layers"),
        ("jit(f)/transpose(jvp(ASTR.fine))/fine_matching/self/dot", "fine stage"),
        ("jit(f)/adamw/mul", OTHER),
        ("", UNNAMED),
    ],
)
def test_operations_belong_to_the_part_that_their_name_says(operation, part):
    assert part_of(operation).startswith(part)


def test_a_compiled_program_is_traced_by_the_names_of_its_operations():
    @jax.jit
    def double(x):
        return jnp.sin(x @ x)

    x = jnp.ones((64, 64))
    program = double.lower(x).compile()
    program(x)
    times = traced(lambda: program(x))
    assert times
    assert min(times.values()) >= 0
    assert set(times) & set(names_of(program.as_text()))


def test_the_share_of_the_peak_is_that_of_all_devices(micro_config, monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("astr_jax.training.speed.time.monotonic", lambda: next(clock))
    stage = Stage(pairs=8, height=64, width=96, batch_size=4)
    speed = Speed(micro_config, stage, profile.devices.data_mesh(jax.devices()[:2]))
    assert speed.pairs_at_peak is None  # of a CPU it is not known
    speed.pairs_at_peak = 40.0
    assert speed.measure(5) == {"pairs_per_second": 10.0, "share_of_peak": 0.25}


def test_peaks_are_known_by_the_names_of_devices():
    assert peak_of("NVIDIA H200", "bfloat16") == 989e12
    assert peak_of("NVIDIA A100-SXM4-80GB", "float32") == 156e12
    assert peak_of("cpu", "float32") is None
