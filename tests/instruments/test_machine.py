"""The machine, in words."""

import platform

import jax

from astr_jax.instruments import machine
from astr_jax.instruments.machine import cpu_model, describe_machine, machine_words


def test_the_machine_is_told_in_one_line():
    found = describe_machine()
    assert found["cores"] >= 1
    assert found["device"] == "cpu"
    assert found["versions"]["jax"] == jax.__version__
    words = machine_words(found)
    assert "\n" not in words
    for part in (found["cpu"], f"{found['cores']} core", "JAX on cpu", f"jax {jax.__version__}"):
        assert part in words


def test_the_model_of_the_cpu_is_read_or_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "CPU", tmp_path / "cpuinfo")
    assert cpu_model() == (platform.processor() or platform.machine())
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One: 3 GHz\n")
    assert cpu_model() == "A Fast One: 3 GHz"
