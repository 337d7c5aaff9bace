"""The inner loops of the streaming pass, compiled on first use and then kept on disk.

All run without Python's lock. Blocks are ``values`` (image, band, y, x) and ``keep``
(image, y, x), which pixels count; ``labels`` (partition, image) says which rows of the results an
image adds to.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["count_bins", "count_joint", "count_levels", "drop_incomplete", "sum_moments"]

_TILE = 512  # pixels whose products are summed at once: few enough to stay in the near caches


@njit(nogil=True, cache=True)
def drop_incomplete(values: np.ndarray, keep: np.ndarray, missing: np.ndarray) -> None:
    """Take pixels that lack a band out of ``keep``; count the first one in ``missing``."""
    images, bands, height, width = values.shape
    for i in range(images):
        for y in range(height):
            for x in range(width):
                if keep[i, y, x]:
                    for b in range(bands):
                        if not np.isfinite(values[i, b, y, x]):
                            missing[i, b] += 1
                            keep[i, y, x] = False
                            break


@njit(nogil=True, cache=True)
def count_levels(values: np.ndarray, keep: np.ndarray, table: np.ndarray) -> None:
    """Count every value of 16-bit data (image, band, pixel) into ``table`` (band, 65536)."""
    images, bands, pixels = values.shape
    whole = np.empty(images, np.bool_)
    for i in range(images):
        whole[i] = keep[i].all()
    for b in range(bands):
        counts = np.zeros(65_536, np.uint32)
        for i in range(images):
            if whole[i]:
                for q in range(pixels):
                    counts[values[i, b, q]] += np.uint32(1)
            else:
                for q in range(pixels):
                    counts[values[i, b, q]] += np.uint32(keep[i, q])
        for level in range(65_536):
            table[b, level] += counts[level]


@njit(nogil=True, cache=True)
def count_bins(
    values: np.ndarray, keep: np.ndarray, edges: np.ndarray, labels: np.ndarray, counts: np.ndarray
) -> None:
    """Count pixels (image, band, pixel) into ``counts`` (label, band, bin).

    Bins are those of :func:`numpy.histogram`: closed below, the last one closed above too. Values
    outside fall into the end bins.
    """
    images, bands, pixels = values.shape
    bins = len(edges) - 1
    low, high, scale = edges[0], edges[bins], bins / (edges[bins] - edges[0])
    several = labels.shape[0]
    index = np.empty(pixels, np.int32)
    local = np.empty(bins, np.int64)
    for i in range(images):
        for b in range(bands):
            for q in range(pixels):
                value = min(max(np.float64(values[i, b, q]), low), high)
                index[q] = min(np.int32((value - low) * scale), np.int32(bins - 1))
            local[:] = 0
            for q in range(pixels):
                if keep[i, q]:
                    k, value = index[q], np.float64(values[i, b, q])
                    if value < edges[k] and k > 0:
                        k -= 1
                    elif value >= edges[k + 1] and k + 1 < bins:
                        k += 1
                    local[k] += 1
            for p in range(several):
                for k in range(bins):
                    counts[labels[p, i], b, k] += local[k]


@njit(nogil=True, cache=True)
def count_joint(
    values: np.ndarray,
    keep: np.ndarray,
    cuts: np.ndarray,
    labels: np.ndarray,
    origin: tuple[int, int],
    width_of_image: int,
    stride: int,
    joint: np.ndarray,
) -> None:
    """Count pairs of bands into ``joint`` (label, pair, code, code), on every ``stride``-th pixel.

    A code is the number of ``cuts`` (band, code - 1) at or below a value; pairs run (0, 1),
    (0, 2) .. (1, 2) ...
    """
    images, bands, height, width = values.shape
    several, inner = labels.shape[0], cuts.shape[1]
    code = np.empty(bands, np.int64)
    for i in range(images):
        for y in range(height):
            first = (origin[0] + y) * width_of_image + origin[1]
            for x in range((-first) % stride, width, stride):
                if keep[i, y, x]:
                    for b in range(bands):
                        value = values[i, b, y, x]
                        k = 0
                        for c in range(inner):
                            k += value >= cuts[b, c]
                        code[b] = k
                    pair = 0
                    for a in range(bands):
                        for b in range(a + 1, bands):
                            for p in range(several):
                                joint[labels[p, i], pair, code[a], code[b]] += 1
                            pair += 1


@njit(nogil=True, cache=True)
def sum_moments(
    values: np.ndarray,
    keep: np.ndarray,
    shift: np.ndarray,
    patch: int,
    labels: np.ndarray,
    n: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    by_patch: np.ndarray,
    image_n: np.ndarray,
    image_first: np.ndarray,
) -> None:
    """Add shifted sums and products of bands; images are cut into patches from their corner.

    Adds to ``n`` (label), ``first`` (label, band), ``second`` and ``by_patch`` (label, band,
    band), ``image_n`` (image) and ``image_first`` (image, band). ``by_patch`` sums s sᵀ / n over
    patches with sums s and n pixels; both matrices are filled above the diagonal only.
    """
    images, bands, height, width = values.shape
    strip = patch * width <= _TILE  # whole rows of patches, or single patches side by side
    rows = patch * max(1, _TILE // (patch * width)) if strip else patch
    columns = width if strip else patch * max(1, _TILE // (patch * patch))
    across = (columns + patch - 1) // patch
    places = (rows // patch) * across
    buffer = np.empty((bands, rows * columns))
    sums, scaled, shares = np.empty((bands, places)), np.empty((bands, places)), np.empty(places)
    products, between = np.empty((bands, bands)), np.empty((bands, bands))
    total = np.empty(bands)
    for i in range(images):
        products[:], between[:], total[:] = 0, 0, 0
        count = 0
        for top in range(0, height, rows):
            tall = min(rows, height - top)
            for left in range(0, width, columns):
                wide = min(columns, width - left)
                here = _patch_shares(keep[i], top, left, tall, wide, patch, across, shares)
                if not here:
                    continue
                count += here
                pixels = tall * wide
                for b in range(bands):
                    for y in range(tall):
                        row = values[i, b, top + y, left : left + wide]
                        out = buffer[b, y * wide : (y + 1) * wide]
                        inside = keep[i, top + y, left : left + wide]
                        _shifted(row, shift[b], inside, here == pixels, out)
                    total[b] += _patch_sums(buffer[b], tall, wide, patch, across, sums[b])
                    for k in range(places):
                        scaled[b, k] = sums[b, k] * shares[k]
                _add_products(buffer, buffer, pixels, products)
                _add_products(sums, scaled, places, between)
        if not count:
            continue
        image_n[i] += count
        for p in range(labels.shape[0]):
            row_of = labels[p, i]
            n[row_of] += count
            for a in range(bands):
                first[row_of, a] += total[a]
                for b in range(a, bands):
                    second[row_of, a, b] += products[a, b]
                    by_patch[row_of, a, b] += between[a, b]
        for a in range(bands):
            image_first[i, a] += total[a]


@njit(nogil=True, cache=True)
def _shifted(row: np.ndarray, shift: float, keep: np.ndarray, whole: bool, out: np.ndarray) -> None:
    """Write a row of pixels less ``shift``, 0 where they do not count."""
    if whole:
        for x in range(len(out)):
            out[x] = np.float64(row[x]) - shift
    else:
        for x in range(len(out)):
            value = np.float64(row[x]) - shift
            out[x] = value if keep[x] else 0.0


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _add_products(one: np.ndarray, other: np.ndarray, numbers: int, products: np.ndarray) -> None:
    """Add products of rows (band, number) above the diagonal; four at a time share loads."""
    bands = len(one)
    for a in range(bands):
        x = one[a]
        b = a
        while b + 4 <= bands:
            y0, y1, y2, y3 = other[b], other[b + 1], other[b + 2], other[b + 3]
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            for q in range(numbers):
                value = x[q]
                s0 += value * y0[q]
                s1 += value * y1[q]
                s2 += value * y2[q]
                s3 += value * y3[q]
            products[a, b] += s0
            products[a, b + 1] += s1
            products[a, b + 2] += s2
            products[a, b + 3] += s3
            b += 4
        while b < bands:
            y0, s0 = other[b], 0.0
            for q in range(numbers):
                s0 += x[q] * y0[q]
            products[a, b] += s0
            b += 1


@njit(nogil=True, cache=True)
def _patch_shares(
    keep: np.ndarray,
    top: int,
    left: int,
    tall: int,
    wide: int,
    patch: int,
    across: int,
    shares: np.ndarray,
) -> int:
    """Fill ``shares`` (patch) with 1 / pixels kept, 0 where there is none; return all kept."""
    shares[:] = 0
    for y in range(tall):
        k = (y // patch) * across
        for start in range(left, left + wide, patch):
            for x in range(start, min(start + patch, left + wide)):
                shares[k] += keep[top + y, x]
            k += 1
    kept = 0
    for k in range(len(shares)):
        kept += int(shares[k])
        shares[k] = 1 / shares[k] if shares[k] else 0.0
    return kept


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _patch_sums(
    buffer: np.ndarray, tall: int, wide: int, patch: int, across: int, sums: np.ndarray
) -> float:
    """Fill ``sums`` (patch) with the sums of a tile's pixels, row by row in ``buffer``."""
    sums[:] = 0
    pairs = wide // 2 if patch == 2 else 0
    for y in range(tall):
        row = buffer[y * wide : (y + 1) * wide]
        out = sums[(y // patch) * across : (y // patch + 1) * across]
        for k in range(pairs):
            out[k] += row[2 * k] + row[2 * k + 1]
        k = pairs
        for left in range(2 * pairs, wide, patch):
            inside = 0.0
            for x in range(left, min(left + patch, wide)):
                inside += row[x]
            out[k] += inside
            k += 1
    total = 0.0
    for k in range(len(sums)):
        total += sums[k]
    return total
