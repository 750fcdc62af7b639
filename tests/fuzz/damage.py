"""Strategies for what goes wrong with files: bytes, words of a text, values of JSON and arrays."""

import json

import numpy as np
from hypothesis import strategies as st

WORDS = ("", "nan", "inf", "-1", "0", "1e400", "9" * 30, "é", "\x00", "#", "[]", "x y", "1.5")
VALUES = (
    None,
    True,
    -1,
    0,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "x",
    "\x00",
    "../x",
)
VALUES = (*VALUES, [], {}, [[]], [None], ["x"], [[1, 2], [3]], {"x": 1}, "é" * 300)
ODD_ARRAYS = (
    np.zeros(0),
    np.float64(1),
    np.full((4, 4), np.nan),
    np.zeros((3, 3)),
    -np.ones((5, 4), int),
    np.array(["x", "y"]),
    np.array([None, "x", 3.5, {}], object),
    np.array([[2**62, 0, 1, 2]]),
    np.array([1 + 2j]),
    np.array([b"\xff"]),
)


@st.composite
def spoiled_bytes(draw, content: bytes) -> bytes:
    """Cut, flipped in bits, overwritten or grown; now and then as it was."""
    for _ in range(draw(st.integers(0, 3))):
        if not content:
            break
        last = len(content) - 1
        at = draw(st.integers(0, last) | st.integers(0, min(last, 200)))
        match draw(st.sampled_from(("cut", "flip", "flip", "write", "grow", "drop"))):
            case "cut":
                content = content[:at]
            case "flip":
                flipped = content[at] ^ (1 << draw(st.integers(0, 7)))
                content = content[:at] + bytes([flipped]) + content[at + 1 :]
            case "write":
                run = draw(st.sampled_from((b"\0", b"\xff", b"\x7f"))) * draw(st.integers(1, 8))
                content = content[:at] + run + content[at + len(run) :]
            case "grow":
                content = content[:at] + draw(st.binary(max_size=16)) + content[at:]
            case "drop":
                content = content[:at] + content[at + draw(st.integers(1, 16)) :]
    return content


@st.composite
def spoiled_text(draw, text: str) -> str:
    """Words and lines replaced, lost or twice; now and then as it was."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        words = lines[at].split(" ")
        word = draw(st.integers(0, len(words) - 1))
        match draw(st.sampled_from(("word", "word", "lose", "twice", "line"))):
            case "word":
                words[word] = draw(st.sampled_from(WORDS))
            case "lose":
                del words[word]
            case "twice":
                words.insert(word, words[word])
            case "line":
                lines.insert(at, draw(st.sampled_from(WORDS)))
        lines[at] = " ".join(words)
    return "\n".join(lines)


@st.composite
def spoiled_json(draw, value):
    """A value of JSON with one of its parts replaced or lost; now and then as it was."""
    value = json.loads(json.dumps(value))
    if draw(st.integers(0, 5)) == 0:
        return value
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 7)) == 0:
        return draw(st.sampled_from(VALUES))
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key = draw(st.sampled_from(keys))
    if draw(st.integers(0, 9)) == 0:
        del value[key]
    else:
        value[key] = draw(spoiled_json(value[key]))
    return value


@st.composite
def spoiled_arrays(draw, arrays: dict) -> dict:
    """Named arrays with some replaced, lost, cut or of another type."""
    arrays = dict(arrays)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(arrays) or ["x"]))
        array = arrays.pop(name, None)
        match draw(st.sampled_from(("lose", "odd", "odd", "item", "item", "cut", "turn"))):
            case "odd":
                arrays[name] = np.asarray(draw(st.sampled_from(ODD_ARRAYS)))
            case "item" if array is not None and array.size:
                array = array.astype(object)
                array.flat[draw(st.integers(0, array.size - 1))] = (
                    draw(st.sampled_from((*VALUES, *ODD_ARRAYS[:5]))) if array.ndim else 0
                )
                arrays[name] = array
            case "cut" if array is not None and array.ndim:
                arrays[name] = array[: draw(st.integers(0, len(array)))]
            case "turn" if array is not None:
                arrays[name] = array.T[None]
    return arrays
