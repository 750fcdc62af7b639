"""Who matches the pairs of a list: this process, several processes, or Ray's actors.

The list is cut into chunks of fixed size; each chunk becomes one part of the store, so that the
files are the same however many workers there are. Workers take the next chunk when they are free
and send back what they found; this process alone writes. Spreading, restarting and waiting are
those of concurrent.futures and of Ray.
"""

import concurrent.futures
import dataclasses
import itertools
import multiprocessing
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from astr_jax.compiled import keep_compiled
from astr_jax.matching import EncodedImages, Matcher, MatchOptions
from astr_jax.params import load_params
from astr_jax.reconstruction.bulk import KEEP, PART_PAIRS, match_pair
from astr_jax.reconstruction.pairs import Pair
from astr_jax.reconstruction.store import MatchStore, StoredMatches

ENGINES = ("here", "processes", "ray")
RESTARTS = 3  # of workers that die over one list of chunks

Chunk = Sequence[Pair]
Found = list[StoredMatches]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Engine:
    """What matches, and how many of it."""

    name: str = "here"
    workers: int = 2
    cores: int = 1  # of a worker of Ray that has no GPU

    def __post_init__(self):
        if self.name not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {self.name!r}.")
        if self.workers < 1 or self.cores < 1:
            raise ValueError(
                f"workers and cores must be at least 1; got {self.workers} and {self.cores}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What a worker needs to begin."""

    weights: pathlib.Path
    options: MatchOptions
    paths: Mapping[str, pathlib.Path]
    keep: int = KEEP
    least_agreeing: float = 0.0  # as of bulk.match_pair

    def worker(self) -> Callable[[Chunk], Found]:
        """A function that matches a chunk; it holds the weights, and the images it saw last."""
        keep_compiled()
        matcher = Matcher(load_params(self.weights), self.options)
        images, least = EncodedImages(matcher.encode, self.keep), self.least_agreeing

        def match(chunk: Chunk) -> Found:
            found = []
            for pair in chunk:
                image0, image1 = (images.get(self.paths[name], name) for name in pair)
                found.append(match_pair(matcher, image0, image1, least_agreeing=least))
            return found

        return match


def match_spread(
    engine: Engine,
    work: Work,
    pairs: Sequence[Pair],
    store: MatchStore,
    *,
    chunk: int = PART_PAIRS,
    on_pair: Callable[[Pair], None] = lambda pair: None,
) -> int:
    """Matches the pairs that the store lacks by processes or by Ray; returns how many.

    chunk: pairs of a part. on_pair hears of each pair whose part is written. Raises
    ModuleNotFoundError without ray, and ChildProcessError where workers keep dying; what is written
    stays.
    """
    cut = (pairs[start : start + chunk] for start in range(0, len(pairs), chunk))
    missing = ([pair for pair in part if pair not in store] for part in cut)
    chunks = [part for part in missing if part]
    run = _ray if engine.name == "ray" else _processes
    for number, found in run(work, chunks, engine):
        store.write(list(zip(chunks[number], found, strict=True)))
        for pair in chunks[number]:
            on_pair(pair)
    return sum(map(len, chunks))


_match: Callable[[Chunk], Found]  # of a process that works


def _begin(work: Work) -> None:
    global _match
    _match = work.worker()


def _work(number: int, chunk: Chunk) -> tuple[int, Found]:
    return number, _match(chunk)


def _processes(work: Work, chunks: Sequence[Chunk], engine: Engine) -> Iterator[tuple[int, Found]]:
    """Chunks as they are done. JAX cannot be forked, so processes are spawned; where one dies, the
    pool goes with it, and another one takes what is left."""
    left, spawn = dict(enumerate(chunks)), multiprocessing.get_context("spawn")
    for died in itertools.count(1):
        pool = concurrent.futures.ProcessPoolExecutor(
            min(engine.workers, max(1, len(left))), spawn, _begin, (work,)
        )
        try:
            tasks = [pool.submit(_work, *item) for item in left.items()]
            for task in concurrent.futures.as_completed(tasks):
                number, found = task.result()
                del left[number]
                yield number, found
            return
        except concurrent.futures.BrokenExecutor:
            if died > RESTARTS:
                raise ChildProcessError(f"{_DIED}; {len(left)} parts are left.") from None
        finally:
            pool.shutdown(cancel_futures=True)


_DIED = f"workers died {RESTARTS + 1} times, perhaps for want of memory: take fewer of them"


def _ray(work: Work, chunks: Sequence[Chunk], engine: Engine) -> Iterator[tuple[int, Found]]:
    """Chunks as they are done, by Ray's actors: each holds the weights, has a GPU where the cluster
    has some, gets a chunk when it is free, and is restarted by Ray where it dies."""
    import ray
    from ray.util import ActorPool

    begun = not ray.is_initialized()
    if begun:  # RAY_ADDRESS names a cluster; else Ray starts on this machine
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        gpus = ray.cluster_resources().get("GPU", 0)
        need = {"num_gpus": 1} if gpus else {"num_cpus": engine.cores}
        actor = ray.remote(max_restarts=-1, max_task_retries=RESTARTS, **need)(_Actor)
        count = min(engine.workers, max(1, len(chunks)))
        pool = ActorPool([actor.remote(work) for _ in range(count)])
        items = list(enumerate(chunks))
        yield from pool.map_unordered(lambda one, item: one.match.remote(*item), items)
    except ray.exceptions.RayActorError as error:
        raise ChildProcessError(f"{_DIED}; Ray says: {str(error).splitlines()[-1]}") from error
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        if begun:
            ray.shutdown()


class _Actor:
    """What Ray keeps alive."""

    def __init__(self, work: Work):
        self._match = work.worker()

    def match(self, number: int, chunk: Chunk) -> tuple[int, Found]:
        """What was found in a chunk."""
        return number, self._match(chunk)
