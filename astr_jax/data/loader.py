"""Makes items ahead of need in background threads and hands them out in order."""

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetch(Iterator, Generic[Item]):
    """Iterates over make(start), make(start + 1), ... without end.

    At most `ahead` items are in the making or ready. What make raises is raised by next(), in its
    turn, and ends the iteration. Close it, use it in a `with`, or drop it: the threads then end.
    """

    def __init__(
        self, make: Callable[[int], Item], *, start: int = 0, num_threads: int = 2, ahead: int = 8
    ):
        if num_threads < 1 or ahead < 1:
            raise ValueError(
                f"num_threads and ahead must be 1 or more; got {num_threads} and {ahead}."
            )
        self._make = make
        self._steps = itertools.count(start)
        self._pool = concurrent.futures.ThreadPoolExecutor(num_threads, "prefetch")
        self._waiting = collections.deque(self._submit() for _ in range(ahead))

    def __next__(self) -> Item:
        if not self._waiting:
            raise StopIteration
        try:
            item = self._waiting.popleft().result()
        except BaseException:
            self.close()
            raise
        self._waiting.append(self._submit())
        return item

    def close(self) -> None:
        """Drops what waits and ends the threads; next() then raises StopIteration."""
        self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Prefetch[Item]":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self):
        if hasattr(self, "_pool"):
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self) -> concurrent.futures.Future:
        return self._pool.submit(self._make, next(self._steps))
