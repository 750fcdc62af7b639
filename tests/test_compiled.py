"""Where compiled programs are kept, and that a second process reads them."""

import os
import subprocess
import sys

import jax
import pytest

from astr_jax import compiled


@pytest.fixture
def jax_without_folder():
    """JAX as it is before anyone names a folder."""
    before = (
        jax.config.jax_compilation_cache_dir,
        jax.config.jax_persistent_cache_min_compile_time_secs,
    )
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])


@pytest.mark.usefixtures("jax_without_folder")
def test_programs_are_kept_in_a_cache_folder_of_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.keep_compiled() == tmp_path / "astr_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "astr_jax" / "compiled")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compiled.cache_folder() == tmp_path / ".cache" / "astr_jax" / "compiled"


@pytest.mark.usefixtures("jax_without_folder")
def test_the_variable_names_another_folder_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "unused"))
    for word in ("0", "off", "OFF", ""):
        monkeypatch.setenv(compiled.VARIABLE, word)
        assert compiled.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "mine"))
    assert compiled.keep_compiled() == tmp_path / "mine"
    assert not (tmp_path / "unused").exists()


@pytest.mark.usefixtures("jax_without_folder")
def test_the_callers_own_folder_is_left_alone(tmp_path, monkeypatch):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "ours"))
    assert compiled.keep_compiled() == tmp_path / "own"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "own")
    assert not (tmp_path / "ours").exists()


@pytest.mark.usefixtures("jax_without_folder")
def test_a_folder_that_cannot_be_made_is_not_used(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv(compiled.VARIABLE, str(file / "below"))
    assert compiled.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv(compiled.VARIABLE, str(file))
    assert compiled.keep_compiled() is None


PROGRAM = """
import jax, sys
from astr_jax.compiled import keep_compiled
keep_compiled()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
print(jax.jit(lambda x: (x @ x.T).sum())(jax.numpy.ones((8, 8))))
print(sum("cache_hits" in name for name in events), sum("cache_misses" in name for name in events))
"""


def test_a_second_process_reads_what_the_first_compiled_and_a_damaged_file_does_no_harm(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment[compiled.VARIABLE] = str(tmp_path)

    def run():
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM],
            env=environment, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        result, counts = done.stdout.split("\n")[:2]
        assert float(result) == 512
        return [int(count) for count in counts.split()]

    hits, misses = run()
    assert (hits, misses > 0) == (0, True)
    assert run() == [misses, 0]
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:20])
    run()
