import math

import pytest
import torch
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode, RandomRotation

import mnist_s5 as s5


def sampled(n: int, seed: int = 3, **magnitudes: float) -> Tensor:
    torch.manual_seed(seed)
    return s5.sample_affine(n, **magnitudes)


def angles_and_zooms(affine: Tensor) -> tuple[Tensor, Tensor]:
    """Return the angles in degrees (counterclockwise, as in torchvision) and the scale factors."""
    return torch.rad2deg(torch.atan2(affine[:, 1, 0], affine[:, 1, 1])), 1 / torch.hypot(
        affine[:, 1, 0], affine[:, 1, 1]
    )


def by_torchvision(digits: Tensor, affine: Tensor, mode: InterpolationMode) -> Tensor:
    """Apply the reference's steps with the angles and crops of the matrices: float [N, 28, 28], 0 to 1."""
    images = []
    for digit, angle, zoom in zip(digits, *angles_and_zooms(affine), strict=True):
        image = Image.fromarray(digit.numpy())
        if zoom > 1.1:
            image = TF.resize(TF.center_crop(image, [22, 22]), [28, 28])
        images.append(TF.pil_to_tensor(TF.rotate(image, float(angle), mode, fill=0))[0])
    return torch.stack(images) / 255


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return s5.load_mnist("sample")[0].data[::4]


def test_it_is_torchvisions_transform_at_the_references_settings(digits: Tensor) -> None:
    """The mean absolute difference per pixel (0 to 1) is 0.024 to the reference, which uses nearest-neighbor pixels.
    If torchvision is bilinear, too, it is 0.0005 for a rotation and 0.012 for a crop, which it interpolates twice.
    """
    affine = sampled(len(digits), crop_prob=0.1, degrees=15)
    ours = s5.apply_affine(digits[:, None], affine)[:, 0] / 255
    cropped = angles_and_zooms(affine)[1] > 1.1
    nearest = (ours - by_torchvision(digits, affine, InterpolationMode.NEAREST)).abs().mean((1, 2))
    blended = (ours - by_torchvision(digits, affine, InterpolationMode.BILINEAR)).abs().mean((1, 2))
    assert nearest.mean() < 0.03
    assert blended[~cropped].mean() < 0.001
    assert blended[cropped].mean() < 0.015


def test_angles_and_zooms_are_sampled_as_torchvision_does() -> None:
    n = 20_000
    torch.manual_seed(0)
    angles, zooms = angles_and_zooms(sampled(n, crop_prob=0.1, degrees=15))
    theirs = torch.tensor([RandomRotation.get_params([-15.0, 15.0]) for _ in range(n)])
    both = torch.cat([angles, theirs]).sort()
    ahead = torch.where(both.indices < n, 1, -1).cumsum(0).abs().max() / n  # Kolmogorov-Smirnov's distance
    assert ahead < 1.95 * math.sqrt(2 / n)  # exceeded by chance once in a thousand
    assert (zooms > 1.1).float().mean().item() == pytest.approx(0.1, abs=4 * math.sqrt(0.09 / n))
    torch.testing.assert_close(zooms[zooms > 1.1], torch.tensor(28 / 22).expand(int((zooms > 1.1).sum())))
    torch.testing.assert_close(zooms[zooms <= 1.1], torch.ones(int((zooms <= 1.1).sum())))


def test_each_image_has_parameters_of_its_own(digits: Tensor) -> None:
    same = digits[:1].expand(64, 28, 28)[:, None]
    warped = s5.apply_affine(same, sampled(64, degrees=15, scale_jitter=0.1, translate_px=2))
    assert len({image.numpy().tobytes() for image in warped}) == 64


def test_every_setting_does_what_it_says(digits: Tensor) -> None:
    image = digits[:1, None].float()
    torch.testing.assert_close(s5.apply_affine(image, sampled(1)), image, atol=1e-3, rtol=0)  # identity by default
    torch.testing.assert_close(s5.apply_affine(image, sampled(1, flip_prob=1)), image.flip(-1), atol=1e-3, rtol=0)
    moved = sampled(1)
    moved[0, :, 2] = torch.tensor([2, -3]) / 14  # looked up 2 pixels to the right, 3 above
    torch.testing.assert_close(s5.apply_affine(image, moved)[..., 3:, :26], image[..., :25, 2:], atol=1e-3, rtol=0)
    many = sampled(5000, scale_jitter=0.2, translate_px=2)
    _, zooms = angles_and_zooms(many)
    assert (0.8 <= zooms.min() < 0.81, 1.19 < zooms.max() <= 1.2) == (True, True)
    assert 1.98 < 14 * many[..., 2].abs().max() <= 2
    some = sampled(5000, degrees=15, translate_px=2, augment_prob=0.8)
    left = (some == torch.eye(2, 3)).all(dim=2).all(dim=1)
    assert left.float().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / 5000))
    assert torch.equal(some[~left], sampled(5000, degrees=15, translate_px=2)[~left])  # the others are unchanged


def test_what_lies_outside_is_background() -> None:
    far = sampled(1)
    far[0, 0, 2] = 4
    assert not s5.apply_affine(torch.full((1, 1, 28, 28), 255, dtype=torch.uint8), far).any()


NOTHING = dict.fromkeys(
    ("stroke_px", "line_px", "gradient", "noise", "salt_pepper", "invert_prob", "contrast_loss"), 0.0
)


def distorted(digits: Tensor, photometric_prob: float = 1.0, **amounts: float) -> Tensor:
    """Return copies of digits with these distortions and no others, float [N, 1, 28, 28], 0 to 1."""
    torch.manual_seed(3)
    return s5.photometric_distort(digits[:, None].float(), photometric_prob, **NOTHING | amounts) / 255


def test_no_amount_changes_nothing(digits: Tensor) -> None:
    images = digits[:100, None] / 255
    torch.testing.assert_close(distorted(digits[:100]), images)
    assert torch.equal(distorted(digits[:100], 0.0, noise=1), images)


def test_the_fraction_is_distorted_and_the_rest_is_left(digits: Tensor) -> None:
    inverted = distorted(digits[:100], 0.3, invert_prob=1)
    torch.testing.assert_close(inverted[:30], 1 - digits[:30, None] / 255)
    assert torch.equal(inverted[30:], digits[30:100, None] / 255)
    one = torch.zeros(1, 1, 28, 28)
    counts = [int(s5.photometric_distort(one, 0.3, **NOTHING | {"invert_prob": 1}).any()) for _ in range(1000)]
    assert sum(counts) / 1000 == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 1000))  # also for batches of one image


@pytest.mark.parametrize(
    ("amounts", "low", "high"),  # the smallest and largest change of a pixel of a black image
    [
        ({"line_px": 6}, 0, 1),
        ({"gradient": 0.6}, 0, 0.6),
        ({"noise": 0.4}, 0, 0.4),
        ({"salt_pepper": 0.15}, 0, 1),
        ({"contrast_loss": 0.8}, 0, 0.8),
    ],
)
def test_the_amount_of_each_distortion(amounts: dict[str, float], low: float, high: float) -> None:
    images = distorted(torch.zeros(3000, 28, 28, dtype=torch.uint8), **amounts)
    assert images.min() == low
    assert 0.9 * high < images.max() <= high + 1e-6
    changed = images.flatten(1).any(dim=1).float().mean().item()
    assert changed == pytest.approx(1 / 3, abs=0.04)


def test_strokes_get_thicker_and_thinner(digits: Tensor) -> None:
    before = digits[:, None] / 255
    after = distorted(digits, stroke_px=0.5)
    change = (after - before).sum((1, 2, 3)) / before.sum((1, 2, 3))
    thicker, thinner = ((after >= before - 1e-6).flatten(1).all(1), (after <= before + 1e-6).flatten(1).all(1))
    assert (thicker | thinner).all()
    assert 0.2 < (change > 0.01).float().mean() < 0.4
    assert 0.2 < (change < -0.01).float().mean() < 0.4


def test_each_image_gets_distortions_of_its_own(digits: Tensor) -> None:
    torch.manual_seed(3)
    images = s5.photometric_distort(digits[:1, None].expand(64, 1, 28, 28))
    assert len({image.numpy().tobytes() for image in images}) > 55  # a few get nothing
    assert ((images >= 0) & (images <= 255)).all()
    torch.manual_seed(3)
    assert torch.equal(images, s5.photometric_distort(digits[:1, None].expand(64, 1, 28, 28)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_transforms_alike(digits: Tensor) -> None:
    affine = sampled(len(digits), degrees=15, scale_jitter=0.1, translate_px=2)
    there = s5.apply_affine(digits[:, None].cuda(), affine.cuda()).cpu()
    torch.testing.assert_close(there, s5.apply_affine(digits[:, None], affine), atol=0.05, rtol=0)


def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected square images \[N, 1, S, S\], got \[2, 1, 28, 30\]"):
        s5.apply_affine(torch.zeros(2, 1, 28, 30), s5.sample_affine(2))
