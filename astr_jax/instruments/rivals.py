"""Other matchers, to be timed beside the model, where their packages are installed; and what they
are called in the table, with ONNX Runtime, whose task `astr_jax.export` makes."""

import importlib.util

import numpy as np
from jaxtyping import UInt8

from astr_jax.instruments.timing import Task

Picture = UInt8[np.ndarray, "_ _"]
FEATURES = 4096  # of an image, at most
RATIO = 0.8  # of Lowe's test
LOFTR_LARGEST = 960  # long side; its matching matrix has a number for every two cells
ONNX = "ONNX Runtime"
RIVALS = {
    ONNX: "the same match at scale 1 as a graph, on the CPU",
    "SIFT": f"OpenCV, at most {FEATURES} features, all compared, ratio test at {RATIO}",
    "ORB": f"OpenCV, at most {FEATURES} features, all compared, ratio test at {RATIO}",
    "LoFTR": "kornia, random weights: hardly any match, so hardly any refinement",
}


def rival_tasks(image0: Picture, image1: Picture) -> dict[str, Task]:
    """A task for each matcher whose package is here: detect, describe and match, anew each time."""
    found: dict[str, Task] = {}
    if is_installed("cv2"):
        found |= {name: opencv_task(name, image0, image1) for name in ("SIFT", "ORB")}
    small = max(*image0.shape, *image1.shape) <= LOFTR_LARGEST
    if small and is_installed("torch") and is_installed("kornia"):
        found["LoFTR"] = loftr_task(image0, image1)
    return found


def is_installed(package: str) -> bool:
    """Whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def opencv_task(name: str, image0: Picture, image1: Picture) -> Task:
    """OpenCV's own matching by brute force, with its own threads."""
    import cv2

    make, norm = {
        "SIFT": (cv2.SIFT_create, cv2.NORM_L2),
        "ORB": (cv2.ORB_create, cv2.NORM_HAMMING),
    }[name]

    def match():
        detector = make(nfeatures=FEATURES)
        described = [detector.detectAndCompute(image, None)[1] for image in (image0, image1)]
        if any(found is None or len(found) < 2 for found in described):
            return 0
        neighbours = cv2.BFMatcher(norm).knnMatch(*described, k=2)
        return sum(first.distance < RATIO * second.distance for first, second in neighbours)

    return match


def loftr_task(image0: Picture, image1: Picture) -> Task:
    """LoFTR, on the GPU where torch sees one. Its sides are cut to multiples of 8."""
    import torch
    from kornia.feature import LoFTR

    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = LoFTR(pretrained=None).eval().to(device)

    def tensor(image: Picture):
        height, width = (side // 8 * 8 for side in image.shape)
        grey = image[:height, :width].astype(np.float32) / 255
        return torch.from_numpy(grey)[None, None].to(device)

    def match():
        with torch.inference_mode():
            found = model({"image0": tensor(image0), "image1": tensor(image1)})
        return len(found["keypoints0"].cpu())

    return match
