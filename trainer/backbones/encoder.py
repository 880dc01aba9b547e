"""The BERT family: BERT, DistilBERT and ELECTRA encoders, written for packed rows, XLA and few memory passes.

Tokens stay flattened, (B*S, H), from the embeddings to the end; only attention sees (B, N, S, S).
Matrix products run in the compute dtype; layer norms and softmax in float32.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import WeightsError

MASKED = -1e9  # added to a score that must not be seen: finite, so that a row with nothing to see is uniform, not NaN
FIRST_HEAD_DROPOUT_SITE = 1_000_000  # dropout sites below belong to the encoder


@tf.custom_gradient
def _gelu(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """GELU by the error function. The derived gradient keeps and rereads more arrays: a step costs 3 % more, 10 % in bfloat16."""
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        wide = tf.cast(x, tf.float32)
        density = tf.exp(-0.5 * wide * wide) * (1 / math.sqrt(2 * math.pi))
        return tf.cast(tf.cast(upstream, tf.float32) * (_normal_share(wide) + wide * density), x.dtype)

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
class EncoderConfig:
    """What an encoder is made of; `trainer.backbones.huggingface.read_config` reads it from config.json.

    Raises:
        WeightsError: the activation is unknown, or the heads do not divide the hidden size.
    """

    architecture: str  # bert, distilbert, electra
    vocabulary_size: int  # V
    embedding_size: int  # H, but in small ELECTRAs, where a projection to H follows
    hidden_size: int  # H
    layers: int
    heads: int  # N
    intermediate_size: int
    max_positions: int
    segment_types: int  # 0: no segment embedding (DistilBERT)
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
    sinusoidal_positions: bool = False  # how fresh position embeddings start; a checkpoint brings its own

    def __post_init__(self) -> None:
        """Checks what the sizes must satisfy."""
        if self.activation not in ACTIVATIONS:
            raise WeightsError(f"activation {self.activation!r} is not implemented: expected one of {', '.join(sorted(ACTIVATIONS))}")
        if self.heads < 1 or self.hidden_size % self.heads:
            raise WeightsError(f"hidden size {self.hidden_size} is not a multiple of the number of attention heads, {self.heads}")


def initial_value(config: EncoderConfig, path: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """What a weight starts from: a pure function of its path and the seed, hence the same on every replica and worker.

    Args:
        config: of the encoder.
        path: of the weight inside the encoder, such as `layer_0/attention/output/kernel`.
        shape: of the weight.
        seed: of the run.
    Returns:
        float32 array: normal values cut at two standard deviations for kernels and embeddings (the row of the padding
        token zero), one for the scales of norms, zero for biases.
    Source: Devlin et al. 2019, and their released code.
    """
    leaf = path.rsplit("/", 1)[-1]
    if leaf in ("bias", "scale"):
        return np.full(shape, float(leaf == "scale"), np.float32)
    if leaf == "position" and config.sinusoidal_positions:
        return _sinusoids(*shape)
    generator = np.random.default_rng([seed, zlib.crc32(path.encode())])
    values = generator.standard_normal(shape, np.float32)
    while (outside := np.abs(values) > 2).any():
        values[outside] = generator.standard_normal(int(outside.sum()), np.float32)
    values *= config.initializer_range
    if leaf == "word" and config.pad_token_id is not None:
        values[config.pad_token_id] = 0
    return values


def _sinusoids(positions: int, width: int) -> np.ndarray:
    angle = np.arange(positions)[:, None] / np.power(10000, 2 * (np.arange(width) // 2) / width)  # (positions, width)
    return np.where(np.arange(width) % 2, np.cos(angle), np.sin(angle)).astype(np.float32)


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, site: int) -> tf.Tensor:
    """Zeroes a share `rate` of the values and scales the rest up, by a mask that is a pure function of (seed, site).

    Args:
        x: any shape, floating.
        rate: in [0, 1), honoured to 1/65536.
        seed: (2,) int32; None: nothing is dropped.
        site: which dropout of the model this is. Heads count from FIRST_HEAD_DROPOUT_SITE.
    Returns:
        The shape and dtype of x.
    """
    if seed is None or not rate:
        return x
    threshold = min(round(rate * 65536), 65535)
    count = tf.size(x, tf.int64)  # attention over a large batch has more values than int32 can count
    bits = tf.random.stateless_uniform([(count + 1) // 2], tf.random.experimental.stateless_fold_in(seed, site), None, None, tf.uint32)
    kept = tf.reshape(tf.bitcast(bits, tf.uint16), [-1])[:count] >= tf.constant(threshold, tf.uint16)  # two draws from 32 bits
    return x * tf.reshape(tf.cast(kept, x.dtype) * (65536 / (65536 - threshold)), tf.shape(x))


class _Piece(keras.layers.Layer):
    """A part of the encoder: a Keras layer for its weights; called by `apply`, as Keras' own call takes tensors only."""

    def __init__(self, config: EncoderConfig, *, dtype: keras.DTypePolicy, name: str) -> None:
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config

    def weight(self, name: str, *shape: int) -> keras.Variable:
        return self.add_weight(shape=shape, initializer="zeros", name=name, autocast=False)

    def compute(self, weight: keras.Variable) -> tf.Tensor:
        return tf.cast(weight.value, self.compute_dtype)


class _Dense(_Piece):
    def __init__(self, config: EncoderConfig, inputs: int, outputs: int, **layer) -> None:
        super().__init__(config, **layer)
        self.sizes = inputs, outputs

    def build(self) -> None:
        self.kernel = self.weight("kernel", *self.sizes)
        self.bias = self.weight("bias", self.sizes[1])

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.bias_add(x @ self.compute(self.kernel), self.compute(self.bias))  # (T, outputs)


class _LayerNorm(_Piece):
    def __init__(self, config: EncoderConfig, size: int, **layer) -> None:
        super().__init__(config, **layer)
        self.size = size

    def build(self) -> None:
        self.scale = self.weight("scale", self.size)
        self.bias = self.weight("bias", self.size)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        centred = tf.cast(x, tf.float32)
        centred -= tf.reduce_mean(centred, -1, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
        y = centred * tf.math.rsqrt(variance + self.config.layer_norm_epsilon) * self.scale.value + self.bias.value
        return tf.cast(y, self.compute_dtype)


class _Embeddings(_Piece):
    def build(self) -> None:
        c = self.config
        layer = {"dtype": self.dtype_policy}
        self.word = self.weight("word", c.vocabulary_size, c.embedding_size)
        self.position = self.weight("position", c.max_positions, c.embedding_size)
        self.segment = self.weight("segment", c.segment_types, c.embedding_size) if c.segment_types else None
        self.norm = _LayerNorm(c, c.embedding_size, name="norm", **layer)
        self.norm.build()
        self.project = None
        if c.embedding_size != c.hidden_size:
            self.project = _Dense(c, c.embedding_size, c.hidden_size, name="project", **layer)
            self.project.build()

    def apply(self, inputs: dict[str, tf.Tensor], seed: tf.Tensor | None) -> tf.Tensor:
        tokens = inputs["token_ids"]
        x = tf.gather(self.word.value, tokens)  # (B, S, E)
        if "position_ids" in inputs:
            x += tf.gather(self.position.value, inputs["position_ids"])
        else:
            if tokens.shape[1] is not None and tokens.shape[1] > self.config.max_positions:
                raise ValueError(f"expected token_ids of at most {self.config.max_positions} positions. Received shape {tokens.shape}")
            x += self.position.value[:tf.shape(tokens)[1]]
        if self.segment is not None:
            x += tf.gather(self.segment.value, inputs["segment_ids"]) if "segment_ids" in inputs else self.segment.value[0]
        x = self.norm.apply(tf.reshape(x, [-1, self.config.embedding_size]))  # (T, E)
        x = dropout(x, self.config.hidden_dropout, seed, 0)
        return x if self.project is None else self.project.apply(x)  # (T, H)


class _Attention(_Piece):
    def __init__(self, config: EncoderConfig, site: int, **layer) -> None:
        super().__init__(config, **layer)
        self.site = site  # of the dropout on probabilities; the next one is on the output

    def build(self) -> None:
        hidden, layer = self.config.hidden_size, {"dtype": self.dtype_policy}
        self.query_key_value = _Dense(self.config, hidden, 3 * hidden, name="query_key_value", **layer)
        self.output_dense = _Dense(self.config, hidden, hidden, name="output", **layer)
        self.norm = _LayerNorm(self.config, hidden, name="norm", **layer)
        for piece in (self.query_key_value, self.output_dense, self.norm):
            piece.build()

    def apply(self, x: tf.Tensor, shape: list, mask: tf.Tensor | None, seed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        c = self.config
        batch, tokens, size = *shape, c.hidden_size // c.heads
        fused = tf.reshape(self.query_key_value.apply(x), [batch, tokens, 3, c.heads, size])
        query, key, value = tf.unstack(tf.transpose(fused, [2, 0, 3, 1, 4]))  # (B, N, S, H/N), one pass for the three
        scores = tf.matmul(query * (1 / math.sqrt(size)), key, transpose_b=True)  # (B, N, S, S)
        scores = tf.cast(scores, tf.float32)
        probabilities = tf.cast(tf.nn.softmax(scores if mask is None else scores + mask), self.compute_dtype)
        context = tf.matmul(dropout(probabilities, c.attention_dropout, seed, self.site), value)  # (B, N, S, H/N)
        y = self.output_dense.apply(tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [-1, c.hidden_size]))  # (T, H)
        if c.architecture != "distilbert":  # which drops nothing here
            y = dropout(y, c.hidden_dropout, seed, self.site + 1)
        return self.norm.apply(x + y), probabilities


class _FeedForward(_Piece):
    def __init__(self, config: EncoderConfig, site: int, **layer) -> None:
        super().__init__(config, **layer)
        self.site = site

    def build(self) -> None:
        c, layer = self.config, {"dtype": self.dtype_policy}
        self.intermediate = _Dense(c, c.hidden_size, c.intermediate_size, name="intermediate", **layer)
        self.output_dense = _Dense(c, c.intermediate_size, c.hidden_size, name="output", **layer)
        self.norm = _LayerNorm(c, c.hidden_size, name="norm", **layer)
        for piece in (self.intermediate, self.output_dense, self.norm):
            piece.build()

    def apply(self, x: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        y = self.output_dense.apply(ACTIVATIONS[self.config.activation](self.intermediate.apply(x)))
        return self.norm.apply(x + dropout(y, self.config.hidden_dropout, seed, self.site))


class _Block(_Piece):
    def __init__(self, config: EncoderConfig, index: int, **layer) -> None:
        super().__init__(config, **layer)
        self.attention = _Attention(config, 1 + 3 * index, dtype=self.dtype_policy, name="attention")
        self.feed_forward = _FeedForward(config, 3 + 3 * index, dtype=self.dtype_policy, name="feed_forward")

    def build(self) -> None:
        self.attention.build()
        self.feed_forward.build()

    def apply(self, x: tf.Tensor, shape: list, mask: tf.Tensor | None, seed: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.name_scope("attention"):
            x, probabilities = self.attention.apply(x, shape, mask, seed)
        with tf.name_scope("feed_forward"):
            return self.feed_forward.apply(x, seed), probabilities


class Encoder(keras.layers.Layer):
    """A BERT, DistilBERT or ELECTRA encoder; its weights exist as soon as it does.

    Weights are float32 and named `encoder/layer_0/attention/query_key_value/kernel` and so on: kernels
    are (inputs, outputs), norms have `scale` and `bias`, embeddings are `word`, `position` and `segment`.

    Source: Devlin et al. 2019; Sanh et al. 2019; Clark et al. 2020.
    """

    def __init__(self, config: EncoderConfig, *, seed: int | None = 0, dtype: str = "float32", name: str = "encoder") -> None:
        """Makes the weights.

        Args:
            config: sizes and rates.
            seed: of the initial values; None leaves zeros, for a loader to fill.
            dtype: "float32" or "mixed_bfloat16" (matrix products in bfloat16).
            name: first part of the weights' names.
        """
        super().__init__(dtype=dtype, name=name, autocast=False)
        self.config = config
        layer = {"dtype": self.dtype_policy}
        self.embeddings = _Embeddings(config, name="embeddings", **layer)
        self.blocks = [_Block(config, i, name=f"layer_{i}", **layer) for i in range(config.layers)]
        self.pooler = _Dense(config, config.hidden_size, config.hidden_size, name="pooler", **layer) if config.pooler else None
        self.build()
        if seed is not None:
            for path, weight in self.weights_by_path().items():
                weight.assign(initial_value(config, path, tuple(weight.shape), seed))

    def build(self) -> None:
        """Called once, by the constructor."""
        for piece in (self.embeddings, *self.blocks, *([self.pooler] if self.pooler else [])):
            piece.build()

    def weights_by_path(self) -> dict[str, keras.Variable]:
        """Every weight under its path inside the encoder, such as `layer_0/attention/output/kernel`."""
        return {weight.path[len(self.path) + 1:]: weight for weight in self.weights}

    def call(self, inputs: dict[str, tf.Tensor], *, training: bool = False, dropout_seed: tf.Tensor | None = None,
             output_hidden_states: bool = False, output_attentions: bool = False) -> dict[str, tf.Tensor | list[tf.Tensor]]:
        """Encodes rows of tokens.

        Args:
            inputs: each (B, S) int32: `token_ids`; optional `segment_ids` (default 0), `position_ids` (0 to S-1),
                `padding_mask` (all 1; bool too) and `sequence_ids`, which example of a packed row a token belongs to,
                0 on padding: attention stays inside equal ids. Without it a row is one example.
            training: drop out.
            dropout_seed: (2,) int32; the masks are a pure function of it.
            output_hidden_states: return the embeddings and every layer's output too.
            output_attentions: return every layer's attention probabilities too.
        Returns:
            `sequence_output` (B, S, H) in the compute dtype; `pooled_output` (B, H) if there is a pooler: the first
            position's, so use `pool` for packed rows; `hidden_states`, layers + 1 of (B, S, H);
            `attentions`, layers of (B, N, S, S).
        Raises:
            ValueError: training with dropout and no dropout_seed; more positions than the encoder has.
        """
        inputs = {name: tf.convert_to_tensor(x) for name, x in inputs.items() if x is not None}
        rates = self.config.hidden_dropout, self.config.attention_dropout
        if training and any(rates) and dropout_seed is None:
            raise ValueError(f"expected dropout_seed, (2,) int32, for training with dropout rates {rates}. Received None")
        seed = dropout_seed if training else None
        tokens = inputs["token_ids"]
        shape = [static or dynamic for static, dynamic in zip(tokens.shape, tf.unstack(tf.shape(tokens)), strict=True)]
        mask = _attention_mask(inputs)
        with tf.name_scope("embeddings"):
            x = self.embeddings.apply(inputs, seed)  # (T, H), where T = B*S
        states, attentions = [x], []
        for block in self.blocks:
            with tf.name_scope(block.name):  # XLA names them in what it reports
                x, probabilities = block.apply(x, shape, mask, seed)
            states.append(x)
            attentions.append(probabilities)
        states = [tf.reshape(state, [*shape, self.config.hidden_size]) for state in states]
        outputs = {"sequence_output": states[-1]}
        outputs |= {"pooled_output": self.pool(states[-1][:, 0])} if self.pooler else {}
        outputs |= {"hidden_states": states} if output_hidden_states else {}
        return outputs | ({"attentions": attentions} if output_attentions else {})

    def pool(self, x: tf.Tensor) -> tf.Tensor:
        """BERT's pooler, on the vectors of any [CLS] tokens.

        Args:
            x: (..., H).
        Returns:
            (..., H), in (-1, 1).
        Raises:
            ValueError: this encoder has no pooler.
        """
        if self.pooler is None:
            raise ValueError(f"expected an encoder with a pooler. Received one of architecture {self.config.architecture!r} without")
        x = tf.cast(x, self.compute_dtype)
        return tf.reshape(tf.tanh(self.pooler.apply(tf.reshape(x, [-1, self.config.hidden_size]))), tf.shape(x))


def _attention_mask(inputs: dict[str, tf.Tensor]) -> tf.Tensor | None:
    """What to add to the scores: None, (B, 1, 1, S) for padding, or (B, 1, S, S) for packed rows."""
    seen = None
    if "padding_mask" in inputs:
        seen = tf.cast(inputs["padding_mask"], tf.bool)[:, None, None, :]
    if "sequence_ids" in inputs:
        ids = inputs["sequence_ids"]
        same = ((ids[:, :, None] == ids[:, None, :]) & (ids[:, None, :] != 0))[:, None]  # (B, 1, S, S)
        seen = same if seen is None else same & seen
    return None if seen is None else tf.where(seen, 0.0, MASKED)


def set_frozen(encoder: Encoder, *, embeddings: bool = False, layers: int = 0) -> None:
    """Chooses what is not trained: `encoder.trainable_variables` leaves it out. Everything else is trained.

    Args:
        encoder: to change.
        embeddings: freeze the embeddings, ELECTRA's projection included.
        layers: freeze the first so many.
    Raises:
        WeightsError: the encoder has fewer layers.
    """
    if layers > encoder.config.layers:
        raise WeightsError(f"cannot freeze {layers} layers of an encoder with {encoder.config.layers}:"
                           f" set backbone.freeze_layers to at most {encoder.config.layers}")
    encoder.embeddings.trainable = not embeddings
    for index, block in enumerate(encoder.blocks):
        block.trainable = index >= layers
