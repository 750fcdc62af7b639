"""Configurations: frozen, self-validating, hashable. They travel with every checkpoint."""

import dataclasses
import json
import math
import types
import typing

from pallas_kernels.sparse_attention import IMPLEMENTATIONS


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_odd(name: str, side: int) -> None:
    _require(
        side > 0 and side % 2 == 1,
        f"{name} must be odd, so that it has a centre, and positive; got {side}.",
    )


def _require_heads(head_dim: int) -> None:
    _require(head_dim >= 1, f"head_dim must be positive; got {head_dim}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """The feature pyramid (docs/paper.md §1)."""

    widths: tuple[int, ...] = (128, 196, 256, 256, 256)  # channels at 1/2, 1/4, 1/8, 1/16, 1/32
    blocks: tuple[int, ...] = (2, 2, 2, 2, 2)  # residual basic blocks of each stage
    fine_stride: int = 2  # where the top-down path ends, and the fine stage works
    folded: bool = False  # batch norm folded into the convolutions: inference only

    def __post_init__(self):
        _require(
            len(self.widths) == 5 and len(self.blocks) == 5,
            f"widths and blocks need five stages each; got {self.widths} and {self.blocks}.",
        )
        _require(min(self.widths) > 0, f"widths must be positive; got {self.widths}.")
        _require(min(self.blocks) > 0, f"every stage needs a block; got {self.blocks}.")
        _require(self.fine_stride in (2, 4), f"fine_stride must be 2 or 4; got {self.fine_stride}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AggregationConfig:
    """Spot-guided aggregation (docs/paper.md §4). Channels are those of the backbone."""

    blocks: int = 4  # spot-guided blocks
    head_dim: int = 32  # channels per attention head
    neighbourhood: int = 5  # side of the window that supports a query, in 1/8 cells; odd
    supporters: int = 4  # neighbours chosen beside the query itself
    window: int = 5  # side of one spot window, in 1/8 cells; odd
    pool: int = 0  # side of squares of 1/8 cells whose means every query sees too; 0: none
    implementation: str | None = None  # of the sparse attention; None chooses by device

    def __post_init__(self):
        for name in ("neighbourhood", "window"):
            _require_odd(name, getattr(self, name))
        _require_heads(self.head_dim)
        _require(self.pool >= 0, f"pool must not be negative; got {self.pool}.")
        _require(self.blocks >= 1, f"at least one spot-guided block is needed; got {self.blocks}.")
        _require(
            self.implementation in (None, *IMPLEMENTATIONS),
            f"implementation must be None or one of {', '.join(IMPLEMENTATIONS)}; "
            f"got {self.implementation!r}.",
        )
        most = self.neighbourhood**2 - 1
        _require(
            1 <= self.supporters <= most,
            f"supporters must lie in 1..{most} for a neighbourhood of {self.neighbourhood}; "
            f"got {self.supporters}.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingConfig:
    """Coarse matching (docs/paper.md §5)."""

    temperature: float = 0.1  # of the dual softmax
    threshold: float = 0.2  # least confidence of a match
    reach: int = 0  # cells about a match whose probability counts as its own; 0: the paper's
    border: int = 2  # cells dropped along the border of the valid area
    block: int = 512  # queries per step of the streamed matrix, at most; no influence on results

    def __post_init__(self):
        _require(
            0 < self.temperature < math.inf,
            f"temperature must be positive, and finite; got {self.temperature}.",
        )
        _require(0 <= self.threshold < 1, f"threshold must lie in [0, 1); got {self.threshold}.")
        _require(self.reach >= 0, f"reach must not be negative; got {self.reach}.")
        _require(self.border >= 0, f"border must not be negative; got {self.border}.")
        _require(self.block >= 1, f"block must be positive; got {self.block}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineConfig:
    """Adaptive scaling and fine matching (docs/paper.md §6 and §7)."""

    window: int = 5  # samples along a side of a crop, and its base size in fine cells; odd
    head_dim: int = 16  # channels per attention head
    max_ratio: float = 4.0  # largest growth of a crop by its ratio
    zooms: tuple[float, ...] = (1.0,)  # of the crops, step by step; one of 1: the paper's

    def __post_init__(self):
        _require_odd("window", self.window)
        _require_heads(self.head_dim)
        _require(
            1 <= self.max_ratio < math.inf,
            f"max_ratio must be at least 1, and finite; got {self.max_ratio}.",
        )
        _require(
            len(self.zooms) > 0 and all(0 < zoom < math.inf for zoom in self.zooms),
            f"zooms needs a positive number for each step, one step at least; got {self.zooms}.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The whole model. The defaults are the paper's sizes."""

    backbone: BackboneConfig = BackboneConfig()
    aggregation: AggregationConfig = AggregationConfig()
    matching: MatchingConfig = MatchingConfig()
    fine: FineConfig = FineConfig()
    train_side: int = 832  # pixels that the positional encoding counts as the training side
    dtype: str = "float32"  # of activations; parameters, softmax and matching stay float32
    recompute: bool = False  # in the backward pass, what blocks compute: less memory, more time

    def __post_init__(self):
        _require(
            self.dtype in ("float32", "bfloat16"),
            f"dtype must be 'float32' or 'bfloat16'; got {self.dtype!r}.",
        )
        _require(self.train_side > 0, f"train_side must be positive; got {self.train_side}.")
        for name, width, head_dim in (
            ("1/8", self.backbone.widths[2], self.aggregation.head_dim),
            ("1/32", self.backbone.widths[4], self.aggregation.head_dim),
            ("fine", self.fine_width, self.fine.head_dim),
        ):
            _require(
                width % head_dim == 0,
                f"the {name} map has {width} channels, not a multiple of head_dim {head_dim}.",
            )
        for width in (self.backbone.widths[2], self.backbone.widths[4]):
            _require(width % 4 == 0, f"the positional encoding needs 4 | channels; got {width}.")

    @property
    def fine_width(self) -> int:
        """Channels of the fine map."""
        return self.backbone.widths[{2: 0, 4: 1}[self.backbone.fine_stride]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanConfig(AggregationConfig):
    """Flow-guided spans (docs/spans.md). The fields of spots count where `spots` is on."""

    deviations: float = 2.0  # of the flow, that a span reaches from its centre
    least_half: float = 2.0  # half-side of a span, cells
    most_half: float = 12.0
    samples: int = 5  # along a side of a span; 0: every cell inside, up to reach
    reach: int = 4  # half-side of a span of all cells, cells
    spots: bool = False  # look at the spots too; needs samples 0
    self_attention: bool = False  # linear, before each look; else the convolution alone

    def __post_init__(self):
        super().__post_init__()
        _require(
            0 <= self.least_half <= self.most_half < math.inf and 0 < self.deviations < math.inf,
            "spans need 0 <= least_half <= most_half and deviations > 0, all finite; got "
            f"{self.least_half}, {self.most_half} and {self.deviations}.",
        )
        _require(
            min(self.samples, self.reach) >= 0,
            f"samples and reach must not be negative; got {self.samples} and {self.reach}.",
        )
        _require(
            not (self.spots and self.samples),
            f"spots and samples exclude each other: samples are weighted; got {self.samples}.",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class AspanConfig(ModelConfig):
    """The span model (docs/spans.md): ASTR's but for how the coarse stage looks."""

    aggregation: SpanConfig = SpanConfig()
    kind: str = "aspan"  # by it from_json tells the kinds of model apart; ASTR's has none

    def __post_init__(self):
        super().__post_init__()
        _require(self.kind == "aspan", f"kind of a span model is 'aspan'; got {self.kind!r}.")


def architecture(config: ModelConfig) -> ModelConfig:
    """The part of a configuration that weights belong to: without how it is computed."""
    aggregation = dataclasses.replace(config.aggregation, implementation=None)
    return dataclasses.replace(config, aggregation=aggregation, dtype="float32", recompute=False)


def override(config, path: str, text: str):
    """Returns config with one leaf replaced: override(c, "train.steps", "50").

    Raises ValueError for an unknown name or a text that does not parse as the leaf's type.
    """
    name, _, rest = path.partition(".")
    fields = [f.name for f in dataclasses.fields(config)]
    if name not in fields:
        raise ValueError(f"{type(config).__name__} has no {name!r}. It has: {', '.join(fields)}.")
    old = getattr(config, name)
    if rest:
        if not dataclasses.is_dataclass(old):
            raise ValueError(f"{name!r} is a value, not a group; nothing is called {path!r}.")
        return dataclasses.replace(config, **{name: override(old, rest, text)})
    if dataclasses.is_dataclass(old):
        inside = ", ".join(f.name for f in dataclasses.fields(old))
        raise ValueError(f"{path!r} is a group; set one of its fields: {inside}.")
    kind = typing.get_type_hints(type(config))[name]
    return dataclasses.replace(config, **{name: _parse(text, kind, path)})


def _parse(text: str, kind, path: str):
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and text.lower() == "none":
        return None
    (kind,) = (k for k in options if k is not type(None))
    try:
        if typing.get_origin(kind) is tuple:
            item = typing.get_args(kind)[0]
            return tuple(item(part) for part in text.strip("()").replace(",", " ").split())
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError, TypeError):
        wanted = getattr(kind, "__name__", str(kind))
        raise ValueError(f"{path} wants {wanted}; {text!r} is not one.") from None


def to_json(config) -> str:
    """Writes a configuration as JSON; from_json reads it back, equal."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(kind, text: str):
    """Reads a configuration of the given class from to_json's text.

    Raises ValueError for unknown fields, so that a file of a later format is not half understood,
    and for a value of another type.
    """
    return _from_dict(kind, json.loads(text))


def _from_dict(kind, values):
    if kind is ModelConfig and isinstance(values, dict) and "kind" in values:
        _require(values["kind"] == "aspan", f"there is no kind of model {values['kind']!r}.")
        kind = AspanConfig
    hints = typing.get_type_hints(kind)
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__} is read from an object of JSON; got {values!r}.")
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}; was it a later version?")
    fields = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            fields[name] = _from_dict(hints[name], value)
        else:
            fields[name] = tuple(value) if isinstance(value, list) else value
            if not _fits(fields[name], hints[name]):
                wanted = getattr(hints[name], "__name__", str(hints[name]))
                raise ValueError(f"{name} of {kind.__name__} must be {wanted}; got {value!r}.")
    return kind(**fields)


def _fits(value, kind) -> bool:
    """Whether a value of JSON, with tuples for lists, is of the type of a field."""
    if isinstance(kind, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        item = typing.get_args(kind)[0]
        return isinstance(value, tuple) and all(_fits(part, item) for part in value)
    if kind in (int, float):
        number = int if kind is int else int | float
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, kind)
