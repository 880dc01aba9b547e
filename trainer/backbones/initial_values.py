"""What the weights of a backbone start from, where no checkpoint has them."""

import math
import zlib

import numpy as np

from trainer.backbones.config import BackboneConfig


def initial_value(
    config: BackboneConfig, path: str, shape: tuple[int, ...], seed: int
) -> np.ndarray:
    """What a weight starts from: a pure function of its path and the seed, hence the same on every
    replica and worker.

    Args:
        config: of the backbone.
        path: of the weight inside the backbone, such as `layer_0/attention/output/kernel`.
        shape: of the weight.
        seed: of the run.
    Returns:
        float32 array: normal values for kernels and embeddings, cut at two standard deviations but
            in GPT-2, whose residual
        projections start smaller, the more layers there are (the row of the padding token is zero);
        one for the scales of norms, zero for biases.
    Source: Devlin et al. 2019, and their released code; Radford et al. 2019, section 2.3.
    """
    leaf = path.rsplit("/", 1)[-1]
    if leaf in ("bias", "scale"):
        return np.full(shape, float(leaf == "scale"), np.float32)
    if leaf == "position" and config.sinusoidal_positions:
        return _sinusoids(*shape)
    generator = np.random.default_rng([seed, zlib.crc32(path.encode())])
    values = generator.standard_normal(shape, np.float32)
    while not config.causal and (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()), np.float32)
    values *= config.initializer_range
    if config.causal and path.endswith("output/kernel"):
        values /= np.float32(math.sqrt(2 * config.layers))
    if leaf == "word" and config.pad_token_id is not None:
        values[config.pad_token_id] = 0
    return values


def _sinusoids(positions: int, width: int) -> np.ndarray:
    # (positions, width)
    angle = np.arange(positions)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)
    return np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle)).astype(np.float32)
