"""What the weights of a backbone start from, where no checkpoint has them."""

import math
import zlib

import numpy as np

from trainer.backbones.config import BackboneConfig

LARGEST_DEVIATION = 2  # standard deviations; values beyond are drawn again


def initial_value(
    config: BackboneConfig, path: str, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """What a weight starts from.

    It is a pure function of the path and the seed, hence the same on every replica and worker.
    Kernels and embeddings are normal, cut at two standard deviations; the row of the padding token
    is zero. GPT-2's are not cut, and its residual projections start smaller, the more layers there
    are. Scales of norms are one, biases zero.

    Args:
        config: of the backbone.
        path: of the weight inside the backbone, such as `layer_0/attention/output/kernel`.
        shape: of the weight.
        seed: of the run.
    Returns:
        float32 array.
    Source: Devlin et al. 2019, and their released code; Radford et al. 2019, section 2.3.
    """
    _, _, leaf = path.rpartition("/")
    if leaf == "bias":
        return np.zeros(shape, np.float32)
    if leaf == "scale":
        return np.ones(shape, np.float32)
    if leaf == "position" and config.sinusoidal_positions:
        return _sinusoids(*shape)
    path_hash = zlib.crc32(path.encode())
    generator = np.random.default_rng([seed, path_hash])
    weight = _normal(generator, shape, is_cut=not config.causal)
    weight *= config.initializer_range
    if config.causal and path.endswith("output/kernel"):
        residual_sums = 2 * config.layers
        weight /= np.float32(math.sqrt(residual_sums))
    if leaf == "word" and config.pad_token_id is not None:
        weight[config.pad_token_id] = 0
    return weight


def _normal(generator: np.random.Generator, shape: tuple[int, ...], *, is_cut: bool) -> np.ndarray:
    """Normal values, float32."""
    values = generator.standard_normal(shape, np.float32)
    if not is_cut:
        return values
    outside = np.abs(values) > LARGEST_DEVIATION
    while outside.any():
        count = int(outside.sum())
        values[outside] = generator.standard_normal(count, np.float32)
        outside = np.abs(values) > LARGEST_DEVIATION
    return values


def _sinusoids(positions: int, width: int) -> np.ndarray:
    """(positions, width) float32: sines and cosines in turns."""
    place = np.arange(positions)
    column = np.arange(width)
    exponent = 2 * (column // 2) / width
    angle = place[:, None] / np.power(10000, exponent)
    is_odd = column % 2
    waves = np.where(is_odd, np.cos(angle), np.sin(angle))
    return waves.astype(np.float32)
