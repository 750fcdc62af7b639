import gc
import threading
import time

import pytest

from astr_jax.data.loader import Prefetch


@pytest.mark.parametrize("num_threads", [1, 4])
def test_items_come_in_order_though_some_take_longer(num_threads):
    def make(step):
        time.sleep(0.01 * (step % 3 == 0))
        return step

    with Prefetch(make, start=5, num_threads=num_threads, ahead=4) as items:
        assert [next(items) for _ in range(10)] == list(range(5, 15))


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


def test_no_more_than_ahead_items_are_made_before_they_are_asked_for():
    made = []
    with Prefetch(lambda step: made.append(step) or step, num_threads=2, ahead=3) as items:
        for expected in ([0, 1, 2], [0, 1, 2, 3]):
            wait_until(lambda expected=expected: len(made) >= len(expected))
            time.sleep(0.05)  # time enough to go too far
            assert sorted(made) == expected
            next(items)


def test_an_error_in_a_thread_surfaces_in_its_turn_and_ends_the_iteration():
    def make(step):
        if step == 2:
            raise RuntimeError("step 2 is broken")
        return step

    items = Prefetch(make, num_threads=2, ahead=4)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(RuntimeError, match="step 2 is broken"):
        next(items)
    with pytest.raises(StopIteration):
        next(items)


def test_closing_ends_the_threads():
    before = threading.active_count()
    items = Prefetch(lambda step: step, num_threads=3, ahead=5)
    next(items)
    items.close()
    items.close()  # twice does no harm
    assert threading.active_count() == before
    assert list(items) == []


def test_dropping_it_ends_the_threads():
    before = threading.active_count()
    items = Prefetch(lambda step: step, num_threads=3, ahead=5)
    next(items)
    del items
    gc.collect()
    wait_until(lambda: threading.active_count() == before)
    assert threading.active_count() == before


def test_no_threads_is_refused():
    with pytest.raises(ValueError, match="num_threads"):
        Prefetch(lambda step: step, num_threads=0)
