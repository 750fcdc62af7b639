"""From candidates to a calibration, and weights that carry it."""

import os
from collections.abc import Sequence

import safetensors
from rich.console import Console
from rich.progress import track

from astr_jax.evaluation.studies.calibration_fit import (
    THRESHOLDS,
    JudgedCandidates,
    Score,
    best_threshold,
    fit_sigma,
    fit_temperature,
    records_at,
    score_of,
)
from astr_jax.params import Calibration, load_params, read_header, save_params


def calibration_of(
    candidates: Sequence[JudgedCandidates], seeds: Sequence[int], console: Console
) -> tuple[Calibration, dict[float, Score]]:
    """The temperature, then the threshold at it, then sigma's factor of the matches above that;
    and the score of each threshold. Three digits."""
    temperature = float(f"{fit_temperature(candidates):.3g}")
    records = {
        threshold: records_at(candidates, temperature, threshold, seeds)
        for threshold in track(THRESHOLDS, "thresholds", console=console)
    }
    scores = {threshold: score_of(group) for threshold, group in records.items()}
    threshold = best_threshold(scores)
    factor = fit_sigma(records[threshold])
    if not factor:
        raise ValueError(
            f"above the threshold {threshold:g} no match has an error that sigma can be judged by. "
            "Calibrate on more pairs."
        )
    sigma_factor = float(f"{factor:.3g}")
    found = Calibration(temperature=temperature, sigma_factor=sigma_factor, threshold=threshold)
    return found, scores


def write_calibrated(
    source: str | os.PathLike, out: str | os.PathLike, calibration: Calibration
) -> None:
    """Writes the weights with another calibration; arrays, their types and the note stay."""
    header = read_header(source)
    params = load_params(source, fold=header.config.backbone.folded)
    with safetensors.safe_open(source, framework="numpy") as file:
        types = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    dtype = "bfloat16" if "BF16" in types else "float32"
    save_params(out, params.replace(calibration=calibration), note=header.note, dtype=dtype)
