"""One run at a time in a folder: two would write over one another's checkpoints and log.

The run's folder holds a file `running` that names its process. It is touched again and again, and
removed in the end. That of a process which was killed is passed over: on the same machine such a
process is there no more, and from another machine nothing touches the file any more.
"""

import contextlib
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

from rich import print as say

NAME = "running"
BEAT = 10.0  # seconds between two touches
SILENCE = 60.0  # seconds without one, after which a process of another machine counts as gone
_held: set[pathlib.Path] = set()  # by this process
_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def only_run(workdir: pathlib.Path, *, enabled: bool = True) -> Iterator[None]:
    """Holds a run's folder for this process. Raises ValueError where another run holds it, and
    names its process."""
    if not enabled:
        yield
        return
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir.resolve() / NAME
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%F %T")}
    while not _made(path, mine):
        _remove_the_dead(path)
    ended = threading.Event()
    beat = threading.Thread(target=_touch, args=(path, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with _one_at_a_time:
            path.unlink(missing_ok=True)
            _held.discard(path)


def _made(path: pathlib.Path, mine: dict) -> bool:
    """Makes the file, unless it is there."""
    with _one_at_a_time:
        try:
            with path.open("x") as file:
                json.dump(mine, file)
        except FileExistsError:
            return False
        _held.add(path)
        return True


def _remove_the_dead(path: pathlib.Path) -> None:
    """Removes the file of a process that is gone. Raises ValueError for one that is not."""
    found = _read(path)
    if found is None:
        return
    if _is_alive(path, found):
        raise ValueError(
            f"{path.parent} is in use: process {found.get('pid')} on {found.get('host')} has been "
            f"training there since {found.get('since')}. Wait for it, stop it, or take another "
            f"--workdir. If it is no run of astr, remove {path}."
        )
    aside = path.with_name(f"{NAME}.{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(FileNotFoundError):  # another one was quicker
        os.rename(path, aside)
        if _read(aside) != found:  # another one has removed it, and made its own
            os.rename(aside, path)
        else:
            aside.unlink()


def _is_alive(path: pathlib.Path, found: dict) -> bool:
    pid = found.get("pid")
    if found.get("host") == socket.gethostname() and isinstance(pid, int):
        return path in _held if pid == os.getpid() else _is_process(pid)
    say(f"{path} is of a run on {found.get('host')}; waiting for {SILENCE:.0f} s, whether it ends.")
    before, until = _touched(path), time.monotonic() + SILENCE
    while time.monotonic() < until:
        time.sleep(min(1.0, SILENCE / 4))
        if _touched(path) not in (before, None):
            return True
    return False


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _read(path: pathlib.Path) -> dict | None:
    """What the file says; {} for one that was cut short, None where there is none."""
    for _ in range(5):
        try:
            found = json.loads(path.read_text())
            return found if isinstance(found, dict) else {}
        except FileNotFoundError:
            return None
        except ValueError:
            time.sleep(0.05)  # it is being written
    return {}


def _touched(path: pathlib.Path) -> int | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return None


def _touch(path: pathlib.Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with contextlib.suppress(OSError):
            os.utime(path)
