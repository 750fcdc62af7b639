"""Pictures of matches, of attention and of the adaptive grids, as matplotlib figures.

Figures are made without pyplot: no global state, no window. Save one with figure.savefig(path),
or take its pixels_of.
Images are arrays (uint8, or float in [0, 1]; [H W], [H W 1] or [H W 3]) or PIL images.
"""

from astr_jax.viz.attention import draw_attention
from astr_jax.viz.flow import draw_flow
from astr_jax.viz.frames import CellFrame
from astr_jax.viz.grids import draw_grids
from astr_jax.viz.matches import draw_matches
from astr_jax.viz.panels import pixels_of

__all__ = ["CellFrame", "draw_attention", "draw_flow", "draw_grids", "draw_matches", "pixels_of"]
