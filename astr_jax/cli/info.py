"""Describe weights, or what a configuration costs.

examples:
  astr info                              the weights that ship
  astr info run/weights.safetensors      weights of your own
  astr info --config astr_megadepth      a configuration of configs/, or a file
  astr info --all                        a table of all configurations, in Markdown
  astr info --config tiny --memory       compile at 416 and 832 pixels: memory, largest buffer

GFLOPs are those of one pair: two for a multiplication and an addition in convolutions and matrix
products; sides are padded to multiples of 32; one fine match for eight coarse cells.
"""

import dataclasses
import importlib
import importlib.util
import pathlib
import pkgutil

from astr_jax import api
from astr_jax.config import ModelConfig
from astr_jax.model import cost

SIZES = ((240, 320), (480, 640), (832, 832))  # h, w
SIDES = (416, 832)  # of the squares whose memory is compared


def add_arguments(parser) -> None:
    """The options of astr info."""
    parser.add_argument("weights", nargs="?", help="a shipped name or a .safetensors file")
    parser.add_argument("--config", metavar="NAME", help="a name in configs/, or a .py file")
    parser.add_argument("--all", action="store_true", help="a table of all configurations")
    parser.add_argument("--memory", action="store_true", help="compile, and show what it needs")


def run(options) -> None:
    """Prints what was asked for."""
    if (options.weights is not None) + (options.config is not None) + options.all > 1:
        raise ValueError("astr info takes one of WEIGHTS, --config and --all.")
    if options.all:
        print_table(options.memory)
        return
    if options.config:
        config = read_config(options.config)
        print(f"configuration {options.config}")
        print_cost(config)
        print_fields(config)
    else:
        params = api.load(options.weights)
        config = params.config
        print(f"weights {options.weights or api.SHIPPED[-1]}")
        print_cost(config)
        print_fields(config)
        print("calibration")
        print_fields(params.calibration)
        print(f"note: {params.note or 'none'}")
    if options.memory:
        print_memory(config)


def config_names() -> list[str]:
    """The configurations of the package configs, in the order of the alphabet."""
    import configs

    return sorted(m.name for m in pkgutil.iter_modules(configs.__path__))


def read_config(name: str) -> ModelConfig:
    """model() of a configuration by name, or of a Python file."""
    if name.endswith(".py"):
        if not pathlib.Path(name).is_file():
            raise FileNotFoundError(f"there is no configuration file {name}.")
        spec = importlib.util.spec_from_file_location("configuration_file", name)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif name in config_names():
        module = importlib.import_module(f"configs.{name}")
    else:
        raise ValueError(
            f"{name!r} is no configuration: take one of {', '.join(config_names())}, or a .py file."
        )
    return module.model()


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
    """All configurations in Markdown, from the smallest."""
    known = {name: read_config(name) for name in config_names()}
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
    """Temporary memory of the compiled inference at two sizes, and its largest buffer."""
    found = [cost.inference_memory(config, side) for side in SIDES]
    for m in found:
        share = m.largest / m.matrix
        print(
            f"  {m.side} x {m.side}: temporary {m.temporary / 2**20:.1f} MiB; largest buffer "
            f"{m.largest:,} elements, {share:.1%} of N0 N1 = {m.matrix:,}"
        )
    growth = found[1].temporary / found[0].temporary
    print(f"  growth of the temporary memory: {growth:.2f} (four times the pixels)")
