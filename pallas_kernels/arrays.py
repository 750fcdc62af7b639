"""What counts as an array in the annotations of both packages.

The tests check every annotated call: pytest's option --jaxtyping-packages, with the type checker of
tests/typecheck.py. A user's calls are not checked so. A public function that checks what it is
given, and says what to do, has `typing.no_type_check`: its message is the one to see.
"""

import jax
import numpy as np

Array = jax.Array | np.ndarray
