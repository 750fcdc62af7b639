"""The pictures that all tests of localisation match."""

import pytest
from hloc_world import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)
