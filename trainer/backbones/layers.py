"""What encoders and decoders are built of.

Matrix products run in the compute dtype; layer norms and softmax in float32.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import WeightsError, shown_value

# added to a score that must not be seen: finite, so that a row with nothing to see is uniform, not
# NaN
MASKED = -1e9


@tf.custom_gradient
def _gelu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """GELU by the error function.

    The derived gradient keeps and rereads more arrays: a step costs 3 % more, 10 % in bfloat16.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(x, tf.float32)
        density = tf.exp(-0.5 * wide * wide) * (1 / math.sqrt(2 * math.pi))
        return tf.cast(
            tf.cast(upstream, tf.float32) * (_normal_share(wide) + wide * density), x.dtype
        )

    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * _normal_share(wide), x.dtype), gradient


def _normal_share(x: tf.Tensor) -> tf.Tensor:
    return 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5)))  # of a normal distribution, the part below x


def _gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {  # Hugging Face's names
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_fast": _gelu_tanh,
    "gelu_accurate": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "mish": lambda x: x * tf.tanh(tf.nn.softplus(x)),
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    """What a backbone is made of; `trainer.backbones.huggingface.read_config` reads it from
    config.json.

    Raises:
        WeightsError: the activation is unknown, or the heads do not divide the hidden size.
    """

    architecture: str  # a name of trainer.backbones.families.FAMILIES
    vocabulary_size: int  # V
    embedding_size: int  # H, but in small ELECTRAs, where a projection to H follows
    hidden_size: int  # H
    layers: int
    heads: int  # N
    intermediate_size: int
    max_positions: int
    segment_types: int  # 0: no segment embedding (DistilBERT); 1: one for all (RoBERTa)
    activation: str
    layer_norm_epsilon: float
    hidden_dropout: float
    attention_dropout: float
    classifier_dropout: float  # this and the next two: before the output layer of the heads
    token_classifier_dropout: float
    qa_dropout: float
    initializer_range: float
    pad_token_id: int | None
    pooler: bool
    # how fresh position embeddings start; a checkpoint brings its own
    sinusoidal_positions: bool = False
    # the row of the position embeddings that a text's first token takes: RoBERTa's are 2 more than
    # max_positions
    first_position: int = 0
    # layers of a group share their weights (ALBERT); None: each has its own
    layer_groups: int | None = None
    causal: bool = False  # a token sees only those before it (GPT-2)
    embedding_dropout: float | None = None  # None: as hidden_dropout
    scale_attention: bool = True  # scores by the root of the head's size
    scale_attention_by_layer: bool = False  # and by the number of the layer

    def __post_init__(self) -> None:
        """Checks what the sizes must satisfy."""
        if self.activation not in ACTIVATIONS:
            raise WeightsError(
                f"activation {shown_value(self.activation)} is not implemented: expected one of"
                f" {', '.join(sorted(ACTIVATIONS))}"
            )
        if self.heads < 1 or self.hidden_size % self.heads:
            raise WeightsError(
                f"hidden size {self.hidden_size} is not a multiple of the number of attention"
                f" heads, {self.heads}"
            )
        if self.layer_groups is not None and not 1 <= self.layer_groups <= self.layers:
            raise WeightsError(
                f"{self.layer_groups} groups of layers: expected 1 to {self.layers}, the number of"
                " layers"
            )

    @property
    def own_layers(self) -> int:
        """How many layers have weights of their own."""
        return self.layers if self.layer_groups is None else self.layer_groups

    def weights_of(self, layer: int) -> int:
        """Which of these a layer takes."""
        return (
            layer if self.layer_groups is None else int(layer / (self.layers / self.layer_groups))
        )


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


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Zeroes a share `rate` of the values and scales the rest up, by a mask that is a pure function
    of (seed, site).

    Args:
        x: any shape, floating.
        rate: in [0, 1), honoured to 1/65536.
        seed: (2,) int32; None: nothing is dropped.
        site: which dropout of the model this is. Heads count from FIRST_HEAD_SITE (families.py).
    Returns:
        The shape and dtype of x.
    """
    if seed is None or not rate:
        return x
    threshold = min(round(rate * 65536), 65535)
    # attention over a large batch has more values than int32 can count
    count = tf.size(x, tf.int64)
    bits = tf.random.stateless_uniform(
        [(count + 1) // 2],
        tf.random.experimental.stateless_fold_in(seed, site),
        None,
        None,
        tf.uint32,
    )
    # two draws from 32 bits
    kept = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count] >= tf.constant(
        threshold, tf.uint16
    )
    return x * tf.reshape(tf.cast(kept, x.dtype) * (65536 / (65536 - threshold)), tf.shape(x))


class Piece(keras.layers.Layer):
    """A part of a backbone: a Keras layer for its weights; called by `apply`, as Keras' own call
    takes tensors only.
    """

    def __init__(self, config: BackboneConfig, *, dtype: keras.DTypePolicy, name: str) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config

    def weight(self, name: str, *shape: int) -> keras.Variable:
        """Makes a weight, zero until it is loaded."""
        return self.add_weight(shape=shape, initializer="zeros", name=name, autocast=False)

    def compute(self, weight: keras.Variable) -> tf.Tensor:
        """The weight in the compute dtype."""
        return tf.cast(weight.value, self.compute_dtype)


class Dense(Piece):
    """x @ kernel + bias."""

    def __init__(self, config: BackboneConfig, inputs: int, outputs: int, **layer) -> None:
        super().__init__(config, **layer)
        self.sizes = inputs, outputs

    def build(self) -> None:
        """Makes the weights."""
        self.kernel = self.weight("kernel", *self.sizes)
        self.bias = self.weight("bias", self.sizes[1])

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, inputs) -> (T, outputs)."""
        return tf.nn.bias_add(x @ self.compute(self.kernel), self.compute(self.bias))


class LayerNorm(Piece):
    """Over the last axis, in float32."""

    def __init__(self, config: BackboneConfig, size: int, **layer) -> None:
        super().__init__(config, **layer)
        self.size = size

    def build(self) -> None:
        """Makes the weights."""
        self.scale = self.weight("scale", self.size)
        self.bias = self.weight("bias", self.size)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """(T, size) -> the same."""
        centred = tf.cast(x, tf.float32)
        centred -= tf.reduce_mean(centred, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        y = (
            centred * tf.math.rsqrt(variance + self.config.layer_norm_epsilon) * self.scale.value
            + self.bias.value
        )
        return tf.cast(y, self.compute_dtype)


class Backbone(keras.layers.Layer):
    """What encoders and decoders share. The weights exist as soon as the backbone does.

    Weights are float32 and named `encoder/layer_0/attention/query_key_value/kernel` and so on:
    kernels are (inputs, outputs), norms have `scale` and `bias`, embeddings are `word`, `position`
    and `segment`.

    Attributes:
        embeddings, blocks: as the subclass makes them.
        pooler: BERT's layer on [CLS]; None where there is none.
    """

    def __init__(
        self, config: BackboneConfig, *, seed: int | None = 0, dtype: str = "float32", name: str
    ) -> None:
        """Makes the weights.

        Args:
            config: sizes and rates.
            seed: of the initial values; None leaves zeros, for a loader to fill.
            dtype: "float32" or "mixed_bfloat16" (matrix products in bfloat16).
            name: first part of the weights' names.
        """
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config
        self.pooler = None
        self.build()
        if seed is not None:
            for path, weight in self.weights_by_path().items():
                weight.assign(initial_value(config, path, tuple(weight.shape), seed))

    def make(self) -> list[Piece]:
        """Sets `embeddings`, `blocks` and whatever else has weights, and returns all of them."""
        raise NotImplementedError

    def build(self) -> None:
        """Called once, by the constructor."""
        for piece in self.make():
            piece.build()

    def weights_by_path(self) -> dict[str, keras.Variable]:
        """Every weight under its path inside the backbone, such as
        `layer_0/attention/output/kernel`.
        """
        return {weight.path[len(self.path) + 1 :]: weight for weight in self.weights}

    def word_embeddings(self) -> tf.Tensor:
        """(V, E), of all tokens, in the compute dtype."""
        return tf.cast(self.embeddings.word.value, self.compute_dtype)

    def pool(self, x: tf.Tensor) -> tf.Tensor:
        """BERT's pooler, on the vectors of any [CLS] tokens.

        Args:
            x: (..., H).
        Returns:
            (..., H), in (-1, 1).
        Raises:
            ValueError: this backbone has no pooler.
        """
        if self.pooler is None:
            raise ValueError(
                "expected a backbone with a pooler. Received one of architecture"
                f" {self.config.architecture!r} without"
            )
        x = tf.cast(x, self.compute_dtype)
        return tf.reshape(
            tf.tanh(self.pooler.apply(tf.reshape(x, [-1, self.config.hidden_size]))), tf.shape(x)
        )


def attention_mask(inputs: dict[str, tf.Tensor], *, causal: bool = False) -> tf.Tensor | None:
    """What to add to the scores: None, (B, 1, 1, S) for padding, or (B, 1, S, S) for packed rows;
    (1, 1, S, S) at least where `causal`.
    """
    seen = None
    if causal:
        place = tf.range(tf.shape(inputs["token_ids"])[1])
        seen = (place[:, None] >= place[None, :])[None, None]  # (1, 1, S, S)
    if "padding_mask" in inputs:
        real = tf.cast(inputs["padding_mask"], tf.bool)[:, None, None, :]
        seen = real if seen is None else real & seen
    if "sequence_ids" in inputs:
        ids = inputs["sequence_ids"]
        # (B, 1, S, S)
        same = ((ids[:, :, None] == ids[:, None, :]) & (ids[:, None, :] != 0))[:, None]
        seen = same if seen is None else same & seen
    return None if seen is None else tf.where(seen, 0.0, MASKED)


def checked_seed(
    config: BackboneConfig, training: bool, dropout_seed: tf.Tensor | None
) -> tf.Tensor | None:
    """The seed of the masks; None where nothing is dropped.

    Raises:
        ValueError: training with dropout and no seed.
    """
    rates = config.hidden_dropout, config.attention_dropout
    if training and any(rates) and dropout_seed is None:
        raise ValueError(
            f"expected dropout_seed, (2,) int32, for training with dropout rates {rates}. Received"
            " None"
        )
    return dropout_seed if training else None


def embedding_dropout(config: BackboneConfig) -> float:
    """Of the sum of the embeddings."""
    return config.hidden_dropout if config.embedding_dropout is None else config.embedding_dropout


def look_up_positions(
    position: keras.Variable, inputs: dict[str, tf.Tensor], config: BackboneConfig
) -> tf.Tensor:
    """The position embeddings of rows, (B, S, E), or (S, E) where they have no position_ids.

    Raises:
        ValueError: more positions than the backbone has.
    """
    if "position_ids" in inputs:
        return tf.gather(position.value, inputs["position_ids"] + config.first_position)
    tokens = inputs["token_ids"]
    if tokens.shape[1] is not None and tokens.shape[1] > config.max_positions:
        raise ValueError(
            f"expected token_ids of at most {config.max_positions} positions. Received shape"
            f" {tokens.shape}"
        )
    return position.value[config.first_position : config.first_position + tf.shape(tokens)[1]]


def set_frozen(backbone: Any, *, embeddings: bool = False, layers: int = 0) -> None:
    """Chooses what is not trained: `backbone.trainable_variables` leaves it out.

    Everything else is trained.

    Args:
        backbone: to change.
        embeddings: freeze the embeddings, ELECTRA's projection included.
        layers: freeze the first so many.
    Raises:
        WeightsError: the backbone has fewer layers.
    """
    if layers > backbone.config.layers:
        raise WeightsError(
            f"cannot freeze {layers} layers of a backbone with {backbone.config.layers}:"
            f" set backbone.freeze_layers to at most {backbone.config.layers}"
        )
    backbone.embeddings.trainable = not embeddings
    # of those that share weights
    last = {backbone.config.weights_of(layer): layer for layer in range(backbone.config.layers)}
    for index, block in enumerate(backbone.blocks):
        block.trainable = last[index] >= layers
