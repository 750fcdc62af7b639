"""What None chooses, from static facts alone."""

from pallas_kernels.sparse_attention import choose_implementation
from pallas_kernels.sparse_attention.dispatch import choose_for_spots


def test_none_chooses_dense_for_few_keys_and_lists_for_many():
    assert choose_implementation("cpu", num_keys=1250, slots=125) == "dense"
    assert choose_implementation("cpu", num_keys=1251, slots=125) == "gather"
    assert choose_implementation("cpu", num_keys=91, slots=9) == "gather"
    assert choose_implementation("gpu", num_keys=4800, slots=125) == "pallas_lists"
    assert choose_implementation("tpu", num_keys=4800, slots=125) == "segment_sum"


def test_none_for_spots_on_a_gpu_decides_while_it_runs_unless_the_window_is_too_wide():
    sizes = {"num_keys": 4800, "windows": 5}
    assert choose_for_spots("gpu", window=5, **sizes) == "tiles_or_lists"
    assert choose_for_spots("gpu", window=11, **sizes) == "tiles_or_lists"
    assert choose_for_spots("gpu", window=13, **sizes) == "pallas_lists"


def test_none_for_spots_elsewhere_chooses_as_for_their_lists():
    assert choose_for_spots("cpu", num_keys=1250, windows=5, window=5) == "dense"
    assert choose_for_spots("cpu", num_keys=1251, windows=5, window=5) == "gather"
    assert choose_for_spots("tpu", num_keys=1251, windows=5, window=5) == "segment_sum"
