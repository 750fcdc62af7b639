"""Where compiled programs are kept, and that a second process reads them."""

import os
import subprocess
import sys
import warnings

import jax
import pytest

from astr_jax import compiled

TOUCHED = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)


@pytest.fixture
def jax_without_folder():
    """JAX as it is before anyone names a folder."""
    before = {name: getattr(jax.config, name) for name in TOUCHED}
    jax.config.update("jax_compilation_cache_dir", None)
    with warnings.catch_warnings():
        yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("jax_without_folder")
def test_programs_are_kept_in_a_cache_folder_of_the_users(tmp_path, monkeypatch):
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiled.keep_compiled() == tmp_path / "astr_jax" / "compiled"
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "astr_jax" / "compiled")
    monkeypatch.setenv("HOME", str(tmp_path))
    for passed_over in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", passed_over)
        assert compiled.cache_folder() == tmp_path / ".cache" / "astr_jax" / "compiled"
    monkeypatch.setenv("HOME", "~")  # as it comes back for a user without a home
    assert compiled.cache_folder() is None


@pytest.mark.usefixtures("jax_without_folder")
def test_the_variable_names_another_folder_or_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "unused"))
    for word in ("0", "off", "OFF", ""):
        monkeypatch.setenv(compiled.VARIABLE, word)
        assert compiled.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "mine"))
    assert compiled.keep_compiled() == tmp_path / "mine"
    assert (tmp_path / "mine").stat().st_mode & 0o077 == 0  # others may not put code there
    assert not (tmp_path / "unused").exists()


@pytest.mark.usefixtures("jax_without_folder")
def test_a_caller_who_wants_no_cache_gets_none(tmp_path, monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "unused"))
    jax.config.update("jax_enable_compilation_cache", False)
    assert compiled.keep_compiled() is None
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


@pytest.mark.usefixtures("jax_without_folder")
def test_a_folder_that_is_read_alone_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # root may write all
    assert compiled.keep_compiled() is None
    assert jax.config.jax_compilation_cache_dir is None


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


def test_a_second_process_reads_what_the_first_compiled_and_what_is_damaged_is_made_anew(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment[compiled.VARIABLE] = str(tmp_path)

    def run():
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM],
            env=environment, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        result, counts = done.stdout.split("\n")[:2]
        assert float(result) == 512
        return [int(count) for count in counts.split()]

    hits, misses = run()
    assert (hits, misses > 0) == (0, True)
    assert run() == [misses, 0]
    for file in tmp_path.glob("*-cache"):
        file.write_bytes(file.read_bytes()[:20])
    assert run() == [0, misses]
    for file in tmp_path.glob("*-cache"):  # and so that it is not seen before it is read
        file.write_bytes(b"")
        os.utime(file, (0, 0))
    run()


def test_a_fork_of_a_process_that_has_used_jax_is_refused_before_it_hangs(monkeypatch):
    monkeypatch.setattr(compiled, "_used_by", [])
    compiled.check_process()
    compiled.check_process()
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX and Python warn of the fork
        child = os.fork()
    if not child:
        try:
            compiled.check_device()
        except RuntimeError as error:
            os.write(write, str(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        words = said.read()
    assert f"process {child} was forked from process {os.getpid()}" in words
    assert 'get_context("spawn")' in words


def test_a_child_of_a_process_that_has_not_used_jax_may(monkeypatch):
    monkeypatch.setattr(compiled, "_used_by", [])
    compiled.check_device()
    assert compiled._used_by == [os.getpid()]


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend")])
def test_a_device_that_is_not_there_is_named(monkeypatch, error):
    def absent():
        raise error

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(jax, "local_devices", absent)
    with pytest.raises(ValueError, match="no device of JAX_PLATFORMS='cuda'"):
        compiled.check_device()
