"""Camera motion between two frames: the ECC warp, and boxes moved by it.

Evangelidis and Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization" (PAMI 2008). Must agree with cv2.findTransformECC as MMTracking 0.14 calls it.
x and y are pixel centres, (0, 0) the top left; a warp takes them from first frame to second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from halftrack.errors import UserError
from halftrack.layers import one_thread
from halftrack.precision import fp32_island
from halftrack.tracking.config import BLURS, EccMotion
from halftrack.tracking.motion_models import MOTIONS, MotionFamily

__all__ = ["UncorrelatedFramesError", "estimate_motion", "warp_boxes"]

_RGB_TO_GREY = (0.299, 0.587, 0.114)
_HALVED = ((2.0, 0.0, 0.5), (0.0, 2.0, 0.5), (0.0, 0.0, 1.0))  # pixel centres lie between four
_CACHED_PIXELS = 32768  # a block on a CPU: its dozen temporaries stay near a core
_SETTLED = 1 / 32  # pixels; OpenCV samples at multiples of it


class UncorrelatedFramesError(ValueError):
    """Two frames that no motion aligns: too little texture, no overlap, or a cut between them."""


# fp32: sums over a million pixels of gradient times coordinate squared pass 65504 many times
# over, and the 8 bits of bf16 tell coordinates above 256 px apart by whole pixels only.
@fp32_island
@torch.no_grad()
def estimate_motion(settings: EccMotion, first_chw: Tensor, second_chw: Tensor) -> Tensor:
    """The warp from first to second frame, with ``EccMotion``'s settings and errors."""
    _check_frames(first_chw, second_chw, 2**settings.levels)
    # Thousands of operators take microseconds each: waiting for a second thread costs more than
    # it computes, up to twice the whole time on busy cores.
    with one_thread():
        warp = _estimate(settings, first_chw, second_chw)
    rows = 3 if settings.model == "homography" else 2
    return warp[:rows].to(first_chw.device, torch.float32)


def _estimate(settings: EccMotion, first_chw: Tensor, second_chw: Tensor) -> Tensor:
    """The warp ``(3, 3)`` in float64 on the host, refined from level to level."""
    pair = torch.stack([_grey(first_chw), _grey(second_chw)])[:, None]
    # Inner products of pixels far from 0 cancel in fp32; correlation does not see the mean.
    pyramid = [pair - pair.mean(dim=(2, 3), keepdim=True)]
    for _ in range(1, settings.levels):
        pyramid.append(_halve(pyramid[-1]))
    warp = torch.eye(3, dtype=torch.float64, device="cpu")
    halved = torch.tensor(_HALVED, dtype=torch.float64, device="cpu")
    for level in reversed(range(settings.levels)):
        pair = _blur(pyramid[level], BLURS[settings.blur])
        warp = _align(settings, pair, warp, _strides(settings, level))
        if level:
            warp = halved @ warp @ torch.linalg.inv(halved)
            warp = warp / warp[2, 2]  # 1 is what the step of a homography takes for granted
    return warp


def _strides(settings: EccMotion, level: int) -> tuple[int, ...]:
    """Distances between the compared pixels of a level, one for each pass."""
    if level:
        return (1,)
    # A step of a pyramid's last level costs a quarter on every second pixel, and leaves so
    # little to do that one step on all of them is enough.
    return (settings.stride,) if settings.levels == 1 else (2 * settings.stride, settings.stride)


def _align(settings: EccMotion, pair: Tensor, warp: Tensor, strides: tuple[int, ...]) -> Tensor:
    """The warp ``(3, 3)`` improved on one level, from the two grey images ``(2, 1, h, w)``."""
    layers = _with_gradients(pair[1:])
    for stride in strides:
        warp = _climb(settings, pair[0, 0, ::stride, ::stride], layers, warp, stride)
    return warp


def _climb(
    settings: EccMotion, template: Tensor, layers: Tensor, warp: Tensor, stride: int
) -> Tensor:
    """The warp ``(3, 3)`` after as many steps as it takes."""
    model, size = MOTIONS[settings.model], (int(layers.shape[2]), int(layers.shape[3]))
    correlation = -1.0
    for _ in range(settings.iterations):
        last = correlation
        gram = _gram(template, stride, layers, warp, model).cpu().double()  # host sync
        correlation, step = _ecc_step(gram)
        before, warp = warp, model.advance(warp, step.tolist())
        settled = settings.levels > 1 and _corner_shift(before, warp, size) < stride * _SETTLED
        if settled or abs(correlation - last) < settings.tolerance:
            break
    return warp


@fp32_island
def warp_boxes(boxes_xyxy: Tensor, warp: Tensor) -> Tensor:
    """Move boxes by a warp: their top left and bottom right corners go where the warp takes them.

    The other two corners are not used, so a rotated box keeps its diagonal, not its hull.

    Args:
        boxes_xyxy: ``(n, 4)``, in the pixels that the warp was estimated in.
        warp: ``(2, 3)``, or ``(3, 3)`` for a homography.

    Returns:
        ``(n, 4)`` xyxy.

    Source: MMTracking 0.14, CameraMotionCompensation.warp_bboxes.
    """
    warp = warp.to(boxes_xyxy)
    corners = boxes_xyxy.reshape(-1, 2, 2)
    moved = corners @ warp[:2, :2].T + warp[:2, 2]
    if len(warp) == 3:
        moved = moved / (corners @ warp[2, :2] + warp[2, 2])[..., None]
    return moved.reshape(-1, 4)


def _corner_shift(before: Tensor, after: Tensor, size: tuple[int, int]) -> float:
    """Largest difference of two warps along x or y, in pixels, at the corners of a frame."""
    bottom, right = size[0] - 1.0, size[1] - 1.0
    corners = before.new_tensor([[0, 0], [right, 0], [0, bottom], [right, bottom]])
    moved = [warp_boxes(corners.reshape(2, 4), warp) for warp in (before, after)]
    return float((moved[0] - moved[1]).abs().max())


def _check_frames(first_chw: Tensor, second_chw: Tensor, least: int) -> None:
    shapes = f"frames of shapes {tuple(first_chw.shape)} and {tuple(second_chw.shape)}"
    if first_chw.shape != second_chw.shape:
        raise ValueError(f"{shapes}: camera motion needs two frames of one shape")
    if first_chw.ndim != 3 or first_chw.shape[0] not in (1, 3):
        raise ValueError(f"{shapes} are not (3, height, width) RGB or (1, height, width) grey")
    if min(first_chw.shape[1:]) < 2 * least:
        raise UserError(f"{shapes}: this many levels need sides of at least {2 * least}")


def _grey(image_chw: Tensor) -> Tensor:
    image_chw = image_chw.float()
    if len(image_chw) == 1:
        return image_chw[0]
    red, green, blue = _RGB_TO_GREY
    return (image_chw[0] * red).add_(image_chw[1], alpha=green).add_(image_chw[2], alpha=blue)


def _blur(images: Tensor, kernel: Sequence[float]) -> Tensor:
    if len(kernel) == 1:
        return images
    # Shifted sums, not a convolution: cuDNN would round it to TF32.
    padded = F.pad(images, [len(kernel) // 2] * 4, mode="reflect")
    for side in (2, 3):
        length = images.shape[side]
        taps = [padded.narrow(side, tap, length) * weight for tap, weight in enumerate(kernel)]
        padded = torch.stack(taps).sum(dim=0)
    return padded


def _halve(images: Tensor) -> Tensor:
    """Halve the size: the mean of 4x4 pixels at every second pixel.

    4 pixels, not 2: central differences are too small for detail that is too fine for the coarser
    grid, so steps would be too long and the alignment would swing to and fro.
    """
    return F.avg_pool2d(images, 4, stride=2, padding=1, count_include_pad=False)


def _with_gradients(image: Tensor) -> Tensor:
    """Stack an image ``(1, 1, h, w)`` and its central differences along x and y: ``(1, 3, h, w)``.

    The image is mirrored at its outermost pixels, so the difference across the border is 0.
    """
    layers = image.new_zeros((1, 3, *image.shape[2:]))
    half = image[:, 0] * 0.5
    layers[:, 0] = image[:, 0]
    torch.sub(half[..., 2:], half[..., :-2], out=layers[:, 1, :, 1:-1])
    torch.sub(half[:, 2:], half[:, :-2], out=layers[:, 2, 1:-1])
    return layers


def _gram(
    template: Tensor, stride: int, layers: Tensor, warp: Tensor, model: MotionFamily
) -> Tensor:
    """All inner products ``(k + 3, k + 3)`` of Jacobian (k), warped image, template and mask.

    One pass over the pixels: means, norms, projections and Hessian of the step are among them.
    """
    device, (height, width) = template.device, template.shape
    x = torch.arange(width, dtype=torch.float32, device=device)[None, :] * stride
    y = torch.arange(height, dtype=torch.float32, device=device)[:, None] * stride
    rows = max(1, _CACHED_PIXELS // width) if device.type == "cpu" else height
    blocks = [
        _gram_of_rows(template[top : top + rows], x, y[top : top + rows], layers, warp, model)
        for top in range(0, height, rows)
    ]
    return torch.stack(blocks).sum(dim=0)


def _gram_of_rows(
    template: Tensor, x: Tensor, y: Tensor, layers: Tensor, warp: Tensor, model: MotionFamily
) -> Tensor:
    """Inner products over the pixels at ``x (1, w)`` and ``y (r, 1)``."""
    height, width = layers.shape[2:]
    grid = _sampling_grid(x, y, warp, (height, width))
    warped = F.grid_sample(layers, grid[None], align_corners=False)[0]
    inside = grid.abs().lt_(1.0)  # as 0 and 1 in fp32: twice as fast as through booleans
    mask = inside[..., 0] * inside[..., 1]
    jacobian = model.jacobian(warped[1], warped[2], x, y, warp)
    stacked = torch.stack([*jacobian, warped[0] * mask, template * mask, mask]).flatten(1)
    # One vector at a time: a product of matrices may round to TF32 on a GPU.
    return torch.stack([torch.mv(stacked, vector) for vector in stacked])


def _sampling_grid(x: Tensor, y: Tensor, warp: Tensor, size: tuple[int, int]) -> Tensor:
    """Positions ``(h, w, 2)`` of the warped pixels ``(1, w)``, ``(h, 1)``; the image is -1 to 1."""
    height, width = size
    to_unit = warp.new_tensor(
        [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]]
    )
    (a, b, c), (d, e, f), (g, h, i) = (to_unit @ warp).tolist()
    grid = x.new_empty((len(y), x.shape[1], 2))
    torch.add(a * x, b * y + c, out=grid[..., 0])
    torch.add(d * x, e * y + f, out=grid[..., 1])
    return grid if g == h == 0 else grid.div_((g * x + (h * y + i))[..., None])


def _ecc_step(gram: Tensor) -> tuple[float, Tensor]:
    """Correlation and the step of the parameters ``(k,)`` that raises it; float64 on the host."""
    image, template, mask = range(len(gram) - 3, len(gram))
    count = gram[mask, mask]
    centred = gram - gram[:, mask, None] * gram[mask] / count
    to_image, to_template = centred[:image, image], centred[:image, template]
    inner = centred[image, template]
    correlation = float(inner / (centred[image, image] * centred[template, template]).sqrt())
    inverse, singular = torch.linalg.inv_ex(gram[:image, :image])  # of the Hessian
    through_image = inverse @ to_image
    above = centred[image, image] - to_image @ through_image
    below = inner - to_template @ through_image
    if singular or not math.isfinite(correlation) or not below > 0:
        raise UncorrelatedFramesError(
            f"no camera motion aligns the frames: correlation {correlation:.4g} over "
            f"{int(count)} common pixels"
        )
    return correlation, inverse @ (to_template * (above / below) - to_image)
