"""What a run over the doors ends with, and what its tests share. The suite asks 300 examples, the
same in every run; `make fuzz` asks 10,000 others."""

import pytest
import verdicts
from PIL import Image

MOST_PIXELS = 2_000_000  # that Pillow reads; twice as many it refuses


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    """A flipped bit can make a picture of 20,000 x 20,000: Pillow's own limit, lowered to 4 MP."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", MOST_PIXELS)


def pytest_terminal_summary(terminalreporter):
    if not (verdicts.EXAMPLES and verdicts.asked):
        return
    write = terminalreporter.write_line
    write(f"{'door':32}{'examples':>9}{'refused':>9}{'most MiB':>9}")
    for door, count in sorted(verdicts.asked.items()):
        most = verdicts.most_taken[door] >> 20
        write(f"{door:32}{count:9}{verdicts.refused[door]:9}{most:9}")
    write(f"{'together':32}{verdicts.asked.total():9}{verdicts.refused.total():9}")
    write(f"foreign tracebacks, or errors that name nothing: {len(verdicts.foreign)}")
    for door, what in sorted(verdicts.foreign):
        write(f"  {door}: {what}")
    write(f"peak memory: {verdicts.peak_memory() / 2**30:.2f} GiB")
