"""What the tests of all wings share. pytest finds miniatures.py because this file is beside it."""

import pytest
from miniatures import make_hpatches, make_megadepth, make_scannet, make_town


@pytest.fixture
def megadepth(tmp_path, rng):
    return make_megadepth(tmp_path, rng)


@pytest.fixture
def scannet(tmp_path, rng):
    return make_scannet(tmp_path, rng)


@pytest.fixture
def sequences(tmp_path, rng):
    return make_hpatches(tmp_path, rng)


@pytest.fixture
def town(tmp_path, rng):
    return make_town(tmp_path, rng)
