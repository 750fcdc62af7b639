"""Against kornia and vismatch themselves, where they are: `make adapters`."""

import numpy as np
import pytest
from PIL import Image


def test_kornia_gives_the_same_names_shapes_and_types(options, photos):
    torch = pytest.importorskip("torch")
    features = pytest.importorskip("kornia.feature")
    from astr_jax.adapters.kornia import ASTR

    net = features.LoFTR(pretrained=None).eval()
    net.coarse_matching.thr = 0.0  # random weights are unsure
    data = {f"image{k}": torch.tensor(photo)[None, None] for k, photo in enumerate(photos)}
    with torch.no_grad():
        theirs = net(dict(data))
    ours = ASTR(**options)(data)
    assert len(theirs["confidence"])
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert ours[name].shape[1:] == tensor.shape[1:], name
        assert ours[name].ndim == tensor.ndim, name


def test_vismatch_finds_the_same_points_and_their_homography(options, photos, expected):
    pytest.importorskip("vismatch")
    from astr_jax.adapters.vismatch import AstrMatcher

    matcher = AstrMatcher("cpu", ransac_reproj_thresh=30, **options)
    assert matcher.ransac_reproj_thresh == 30
    found = matcher(*(np.stack([photo] * 3) for photo in photos))  # grey, but for rounding
    inside = ((expected.keypoints1 >= 0) & (expected.keypoints1 < [128, 96])).all(axis=1)
    np.testing.assert_array_equal(found["matched_kpts0"], expected.keypoints0[inside])
    np.testing.assert_allclose(found["matched_kpts1"], expected.keypoints1[inside], atol=1e-4)
    confidence = expected.confidence[inside]
    np.testing.assert_allclose(found["matched_confidences"], confidence, rtol=1e-4)
    assert found["all_kpts0"].shape == found["all_desc0"].shape == (0, 2)
    assert found["H"].shape == (3, 3)
    assert found["num_inliers"] >= 4


def test_vismatch_reads_files_as_they_are_stored(tmp_path, photos):
    """So its points are in pixels as stored, whatever the EXIF tag says."""
    base = pytest.importorskip("vismatch").BaseMatcher
    file, tag = tmp_path / "turned.jpg", Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(np.uint8(255 * photos[0])).save(file, exif=tag)
    assert tuple(base.load_image(file).shape) == (3, 96, 128)
