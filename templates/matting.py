"""The edge of a product: how much of each pixel is product, and of which colour.

A pixel on the edge is a mixture of what lies inside and what lies outside of it. Both colours are
taken from nearby, where they are pure; how far the pixel is from one to the other is its alpha, and
the background's part is taken out of its colour, so that nothing of a white studio stays as a rim.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Matte", "clinging", "distance", "matte"]

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

LEAST_CONTRAST = 10.0
"""Of 255: with less between the colours of both sides no mixture can be measured."""

NEAR = 0.25
"""The part of the way from background to product that is still background."""
CRUMB = 40
"""Pixels; a file's ringing comes in blocks of eight by eight."""


@dataclass(frozen=True)
class Matte:
    """A product's alpha, and its colours."""

    alpha: Bytes
    colours: Bytes
    """The picture's own wherever the alpha is 255."""
    contrast: Floats
    """What lies between inside and outside, in Lab, at each pixel of the contour."""


def matte(pixels: Bytes, mask: Bytes) -> Matte:
    """Refine a mask along its edge.

    Args:
        pixels: RGB of the picture.
        mask: 1 where the product is; a pixel or two too wide rather than too narrow.
    """
    alpha = (mask * 255).astype(np.uint8)
    colours = pixels.copy()
    most = _most(max(mask.shape))
    box = cv2.boundingRect(mask)
    rows = slice(max(0, box[1] - 4 * most), box[1] + box[3] + 4 * most)
    columns = slice(max(0, box[0] - 4 * most), box[0] + box[2] + 4 * most)
    near, inside = pixels[rows, columns], mask[rows, columns]
    part = _Edge(near, inside, _Edge(near, inside, most).deep)
    alpha[rows, columns][part.at] = part.alpha
    colours[rows, columns][part.at] = part.colours
    return Matte(alpha=alpha, colours=colours, contrast=part.contrast)


def distance(mask: NDArray[np.uint8] | NDArray[np.bool_]) -> Floats:
    """For each pixel of a mask, how far it is to the next that isn't of it; 0 outside."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def clinging(pixels: Bytes, mask: Bytes, most: float) -> Bytes:
    """1 where a mask has background in it, near its edge.

    Args:
        pixels: RGB of the picture.
        mask: 1 where the product is, and a little of what is around it.
        most: how far in Lab from the background beside it such a pixel may be.
    """
    found = np.zeros_like(mask)
    reach = _most(max(mask.shape))
    depth = distance(mask)
    at = np.nonzero((depth > 0) & (depth <= reach))
    own = pixels[at].astype(np.float32)
    inner = _nearest(pixels, _pure(mask, depth, reach, apart=3 * reach), at, 2)
    outer = _nearest(pixels, (1 - mask).astype(np.uint8), at, 3)
    near = _between(own, outer)
    found[at] = (near < most) & ((near < NEAR * _between(inner, outer)) | (_crumbs(mask)[at] > 0))
    return found


def _crumbs(mask: Bytes) -> Bytes:
    """What sticks out of a mask and is too little to be a part of a product."""
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    out = ((mask > 0) & (opened == 0)).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(out, connectivity=8)
    few = (stats[:, cv2.CC_STAT_AREA] < CRUMB).astype(np.uint8)
    few[0] = 0
    return np.asarray(few[labels], np.uint8)


def _most(longest: int) -> int:
    """Pixels from the contour to where a product is its own at the latest: lenses blur, files smear."""
    return int(np.clip(round(longest / 100), 6, 16))


class _Edge:
    """The band along a contour, as a list of pixels: `at` are their indices."""

    def __init__(self, pixels: Bytes, mask: Bytes, deep: int) -> None:
        depth = distance(mask)
        beyond = distance(1 - mask)
        band = (depth <= deep) & (beyond <= 2)
        self.at = np.nonzero(band)
        within = _pure(mask, depth, deep, apart=deep + 1.5)
        inner = _nearest(pixels, within, self.at, 2)
        outer = _nearest(pixels, (beyond > 2).astype(np.uint8), self.at, 3)
        own = pixels[self.at].astype(np.float32)
        steps = np.where(depth > 0, np.ceil(depth), 1 - np.ceil(beyond))[self.at].astype(np.int32)
        share, settled = _settled(self._share(own, inner, outer, steps), steps)
        self.deep = min(deep, max(2, settled + 1))
        self.alpha = np.rint(share * 255).astype(np.uint8)
        self.colours = self._unmixed(own, inner, outer, share)
        self.contrast = _between(inner, outer)[steps == 1]

    @staticmethod
    def _share(own: Floats, inner: Floats, outer: Floats, steps: NDArray[np.int32]) -> Floats:
        """How much of each pixel is product."""
        across = inner - outer
        length = np.einsum("ij,ij->i", across, across)
        share = np.einsum("ij,ij->i", own - outer, across) / np.maximum(length, 1)
        # Where both sides are alike: a soft step at the contour.
        step = np.clip(0.5 + 0.5 * (steps - 0.5), 0, 1)
        sure = np.clip((np.sqrt(length) - LEAST_CONTRAST) / LEAST_CONTRAST, 0, 1)
        share = sure * share + (1 - sure) * step
        return np.asarray(
            np.clip((share - 0.04) / 0.92, 0, 1), np.float32
        )  # grain and compression are no edge

    @staticmethod
    def _unmixed(own: Floats, inner: Floats, outer: Floats, share: Floats) -> Bytes:
        """The product's colour: the pixel's without the background's share of it."""
        a = share[:, None]
        unmixed = np.clip((own - (1 - a) * outer) / np.maximum(a, 0.05), 0, 255)
        trust = np.clip((a - 0.2) / 0.4, 0, 1)
        mixed = np.rint(trust * unmixed + (1 - trust) * inner)
        return np.where(np.rint(a * 255) >= 255, own, mixed).astype(np.uint8)


def _settled(share: Floats, steps: NDArray[np.int32]) -> tuple[Floats, int]:
    """All product from the depth on at which most pixels are: a pattern there is the product's own."""
    last = int(steps.max(initial=0))
    for step in range(1, last + 1):
        ring = share[steps == step]
        if ring.size and float(np.median(ring)) > 0.97:
            return np.where(steps > step, 1, share).astype(np.float32), step
    return share.astype(np.float32), last


def _pure(mask: Bytes, depth: Floats, deep: int, apart: float) -> Bytes:
    """Where the product is surely nothing but itself: deep inside, or the middle of a thin part.

    Args:
        mask: the product.
        depth: how far within it a pixel is.
        deep: from where on it is deep inside.
        apart: how far from there a thin part is one of its own.
    """
    inside = (depth > deep).astype(np.uint8)
    far = distance(1 - inside) > apart
    ridge = (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (mask > 0) & far
    return (inside | ridge.astype(np.uint8)).astype(np.uint8)


def _nearest(pixels: Bytes, source: Bytes, at: tuple[NDArray[np.intp], ...], reach: int) -> Floats:
    """The colour of the nearest pixel of a source, smoothed among its like, for each of these pixels."""
    if not source.any():
        return pixels[at].astype(np.float32)
    _, labels = cv2.distanceTransformWithLabels(
        (1 - source).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    where = np.zeros(int(labels.max()) + 1, np.intp)
    flat = np.flatnonzero(source)
    where[labels.ravel()[flat]] = flat
    nearest = where[labels[at]]
    size = (2 * reach + 1, 2 * reach + 1)
    weight = cv2.boxFilter(source, cv2.CV_32F, size)
    total = cv2.boxFilter(cv2.bitwise_and(pixels, pixels, mask=source), cv2.CV_32F, size)
    mean = total.reshape(-1, 3)[nearest] / np.maximum(weight.ravel()[nearest], 1e-6)[:, None]
    return np.asarray(mean, np.float32)


def _between(one: Floats, other: Floats) -> Floats:
    """The distance of colours in Lab."""
    both = [
        cv2.cvtColor((side / 255)[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0] for side in (one, other)
    ]
    return np.asarray(np.linalg.norm(both[0] - both[1], axis=1), np.float32)
