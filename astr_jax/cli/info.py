"""Describe weights, or what a configuration costs.

examples:
  astr info                              the weights that ship
  astr info run/weights.safetensors      weights of your own
  astr info --config astr_megadepth      a configuration of configs/, or a file
  astr info --all                        a table of the models of configs/, each once, in Markdown
  astr info --config tiny --memory       compile at 416 and 832 pixels: memory, largest buffer

GFLOPs are those of one pair: two for a multiplication and an addition in convolutions and matrix
products, the matching matrices among them; sides are padded to multiples of 32, 320 x 240 to
320 x 256; one fine match for eight coarse cells.
"""

import dataclasses

from astr_jax import configurations
from astr_jax.config import ModelConfig
from astr_jax.instruments import cost
from astr_jax.instruments.memory import inference_memory, matching_matrix
from astr_jax.params import SHIPPED, find_weights, read_header

SIZES = ((240, 320), (480, 640), (832, 832))  # h, w
SIDES = (416, 832)  # of the squares whose memory is compared


def add_arguments(parser) -> None:
    """The options of astr info."""
    parser.add_argument("weights", nargs="?", help="a shipped name or a .safetensors file")
    parser.add_argument("--config", metavar="NAME", help="a name in configs/, or a .py file")
    parser.add_argument("--all", action="store_true", help="a table of the models of configs/")
    parser.add_argument("--memory", action="store_true", help="compile, and show what it needs")


def run(options) -> None:
    """Prints what was asked for."""
    if (options.weights is not None) + (options.config is not None) + options.all > 1:
        raise ValueError("astr info takes one of WEIGHTS, --config and --all.")
    if options.all:
        print_table(options.memory)
        return
    if options.config:
        config = configurations.read(options.config).model()
        print(f"configuration {options.config}")
        print_cost(config)
        print_fields(config)
    else:
        header = read_header(find_weights(options.weights))
        config = header.config
        print(f"weights {options.weights or SHIPPED[-1]}")
        print_cost(config)
        print_fields(config)
        print("calibration")
        print_fields(header.calibration)
        print(f"note: {header.note or 'none'}")
    if options.memory:
        print_memory(config)


def print_cost(config: ModelConfig) -> None:
    """The number of parameters, and GFLOPs at three sizes."""
    print(f"  parameters         {cost.num_parameters(config):,}")
    for h, w in SIZES:
        flops = cost.count_flops(config, h, w)
        parts = ", ".join(f"{k} {v / 1e9:.1f}" for k, v in dataclasses.asdict(flops).items())
        print(f"  GFLOPs at {f'{w} x {h}':<9}{flops.total / 1e9:8.1f}  ({parts})")


def print_fields(config, indent: int = 2) -> None:
    """A configuration, one field a line, groups indented."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            print(" " * indent + field.name)
            print_fields(value, indent + 2)
        else:
            print(" " * indent + f"{field.name} = {value}")


def print_table(memory: bool) -> None:
    """All models in Markdown, from the smallest, each under its shortest name."""
    known = {}
    for name in sorted(configurations.names(), key=len):
        model = configurations.read(name).model()
        if model not in known.values():
            known[name] = model
    size = {name: cost.num_parameters(config) for name, config in known.items()}
    columns = " | ".join(f"GFLOPs {w} x {h}" for h, w in SIZES)
    print(f"| configuration | parameters | {columns} |\n|---|---:|" + "---:|" * len(SIZES))
    for name in sorted(known, key=size.get):
        totals = (cost.count_flops(known[name], h, w).total / 1e9 for h, w in SIZES)
        cells = " | ".join(f"{total:.1f}" if total < 100 else f"{total:.0f}" for total in totals)
        print(f"| {name} | {size[name] / 1e6:.2f} M | {cells} |")
    for name in sorted(known, key=size.get) if memory else ():
        print(f"\n{name}")
        print_memory(known[name])


def print_memory(config: ModelConfig) -> None:
    """Temporary memory of the programs of a match at two sizes, its growth, the largest buffer."""
    small, large = (inference_memory(config, side) for side in SIDES)
    matrix = matching_matrix(SIDES[1])
    print(f"  temporary memory at {SIDES[0]} x {SIDES[0]} and {SIDES[1]} x {SIDES[1]}")
    for s, m in zip(small, large, strict=True):
        print(
            f"  {m.program:6} {s.temporary / 2**20:7.1f} {m.temporary / 2**20:7.1f} MiB, "
            f"{m.temporary / s.temporary:.2f} times; its largest buffer has "
            f"{m.largest / matrix:.1%} of the matching matrix's {matrix:,} elements"
        )
