import dataclasses
import json

import pytest

from astr_jax.config import (
    AggregationConfig,
    BackboneConfig,
    FineConfig,
    MatchingConfig,
    ModelConfig,
    from_json,
    override,
    to_json,
)


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("train_side", "640", 640),
        ("dtype", "bfloat16", "bfloat16"),
        ("matching.threshold", "3e-1", 0.3),
        ("aggregation.blocks", "2", 2),
        ("aggregation.implementation", "gather", "gather"),
        ("aggregation.implementation", "none", None),
        ("backbone.folded", "true", True),
        ("backbone.folded", "False", False),
        ("backbone.widths", "(16, 32, 64, 64, 64)", (16, 32, 64, 64, 64)),
        ("backbone.widths", "16,32,64,64,64", (16, 32, 64, 64, 64)),
    ],
)
def test_one_leaf_is_replaced_by_its_own_type(path, text, expected):
    config = ModelConfig()
    changed = override(config, path, text)
    for name in path.split("."):
        changed = getattr(changed, name)
    assert changed == expected
    assert type(changed) is type(expected)
    assert config == ModelConfig()


def test_all_else_stays_as_it_was():
    changed = override(ModelConfig(), "matching.border", "3")
    back = dataclasses.replace(changed, matching=dataclasses.replace(changed.matching, border=2))
    assert back == ModelConfig()


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("matching.treshold", "0.3", "MatchingConfig has no 'treshold'. It has: .*threshold"),
        ("trian_side", "640", "ModelConfig has no 'trian_side'"),
        ("matching", "0.3", "is a group; set one of its fields: temperature"),
        ("train_side.width", "1", "is a value, not a group"),
        ("matching.border", "two", "matching.border|border wants int; 'two' is not one"),
        ("backbone.folded", "yes", "wants bool"),
        ("backbone.widths", "16,wide", "widths wants"),
        ("matching.threshold", "1.5", "threshold must lie in"),  # parses, but is nonsense
    ],
)
def test_a_typo_or_a_wrong_value_is_an_error_that_names_it(path, text, message):
    with pytest.raises(ValueError, match=message):
        override(ModelConfig(), path, text)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BackboneConfig(widths=(1, 2, 3)), "five stages"),
        (lambda: BackboneConfig(widths=(0, 2, 3, 4, 5)), "widths must be positive"),
        (lambda: BackboneConfig(blocks=(1, 1, 0, 1, 1)), "every stage needs a block"),
        (lambda: BackboneConfig(fine_stride=8), "fine_stride must be 2 or 4; got 8"),
        (lambda: AggregationConfig(window=4), "window must be odd"),
        (lambda: AggregationConfig(neighbourhood=2), "neighbourhood must be odd"),
        (lambda: AggregationConfig(blocks=0), "at least one"),
        (lambda: AggregationConfig(supporters=25), "supporters must lie in 1..24"),
        (lambda: AggregationConfig(implementation="cuda"), "implementation must be None or one of"),
        (lambda: MatchingConfig(temperature=0), "temperature must be positive"),
        (lambda: MatchingConfig(threshold=1.0), "threshold must lie in"),
        (lambda: MatchingConfig(border=-1), "border must not be negative"),
        (lambda: MatchingConfig(block=0), "block must be positive"),
        (lambda: FineConfig(window=4), "window must be odd"),
        (lambda: FineConfig(max_ratio=0.5), "max_ratio must be at least 1"),
        (lambda: ModelConfig(dtype="float16"), "dtype must be"),
        (lambda: ModelConfig(aggregation=AggregationConfig(head_dim=48)), "not a multiple of"),
    ],
)
def test_a_configuration_refuses_nonsense(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_configurations_are_hashable_and_equal_by_value():
    assert hash(ModelConfig()) == hash(ModelConfig())
    assert ModelConfig() != ModelConfig(train_side=640)


def test_json_gives_back_an_equal_configuration():
    config = ModelConfig(
        backbone=BackboneConfig(widths=(16, 32, 64, 64, 64), fine_stride=4),
        aggregation=AggregationConfig(implementation="dense"),
        fine=FineConfig(max_ratio=3.0),
        dtype="bfloat16",
    )
    again = from_json(ModelConfig, to_json(config))
    assert again == config
    assert hash(again) == hash(config)  # lists came back as tuples


def test_json_of_a_later_version_is_refused():
    values = json.loads(to_json(ModelConfig()))
    values["matching"]["entropy"] = 1
    with pytest.raises(ValueError, match="MatchingConfig has no entropy; was it a later version"):
        from_json(ModelConfig, json.dumps(values))


def test_the_fine_map_has_the_width_of_its_stage():
    assert ModelConfig().fine_width == 128
    assert (
        ModelConfig(backbone=BackboneConfig(fine_stride=4, widths=(8, 48, 64, 64, 64))).fine_width
        == 48
    )
