"""What stands between a backbone and its vocabulary where words are predicted from both sides.

It is a layer, a norm, and each word's bias.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.errors import WeightsError
from trainer.lazy import keras, tf

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone
    from trainer.backbones.config import BackboneConfig
    from trainer.backbones.family import MaskedLM


@dataclasses.dataclass(frozen=True, eq=False)
class MaskedOutput:
    """The layers, as Hugging Face's …ForMaskedLM of each family has them.

    Words are compared with the embeddings.

    Attributes:
        backbone: below them.
        shape: what the family calls their tensors.
        dense: (H) -> (E).
        norm: behind the activation.
        words: has a bias of each word, (V,).
    """

    backbone: Backbone
    shape: MaskedLM
    dense: keras.layers.Dense
    norm: keras.layers.LayerNormalization
    words: keras.layers.Layer

    @classmethod
    def of(cls, backbone: Backbone, seed: int) -> MaskedOutput:
        """New layers.

        Args:
            backbone: an encoder.
            seed: of the initial values.
        Raises:
            ValueError: the backbone is no encoder.
        """
        config = backbone.config
        shape = config.family.masked_lm
        if shape is None:
            raise ValueError(f"expected an encoder. Received a backbone of {config.architecture}")
        return cls(
            backbone=backbone,
            shape=shape,
            dense=_dense(config, seed + FIRST_HEAD_SITE),
            norm=_norm(config),
            words=_words(config),
        )

    @property
    def layers(self) -> Sequence[keras.layers.Layer]:
        """All of them."""
        return self.dense, self.norm, self.words

    def transform(self, hidden: tf.Tensor) -> tf.Tensor:
        """(M, H) -> (M, E) float32, to be compared with the embeddings."""
        from trainer.backbones.activations import ACTIVATIONS

        activate = ACTIVATIONS[self.shape.activation or self.backbone.config.activation]
        wide = tf.cast(hidden, tf.float32)
        return self.norm(activate(self.dense(wide)))

    def bias(self) -> tf.Tensor:
        """(V,) float32."""
        return tf.convert_to_tensor(self.words.bias.value)

    def load(self, tensors: Mapping[str, np.ndarray]) -> list[str]:
        """Takes over a checkpoint's own layers where it has them.

        Args:
            tensors: of the checkpoint.
        Returns:
            the names of those that were taken.
        Raises:
            WeightsError: its words before and behind the encoder have different embeddings.
        """
        copies = [name for name in self.shape.copies if name in tensors]
        self._refuse_untied({name: tensors[name] for name in copies if name.endswith(".weight")})
        weights = self._weights()
        for name, weight in weights.items():
            if name not in tensors or tensors[name].T.shape != tuple(weight.shape):
                return []
        for name, weight in weights.items():
            weight.assign(tensors[name].T)
        return [*weights, *copies]

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        tensors = {
            name: np.ascontiguousarray(weight.numpy().T) for name, weight in self._weights().items()
        }
        return tensors, {
            "architectures": [self.backbone.config.family.class_for("ForMaskedLM")],
            "tie_word_embeddings": True,
            "id2label": None,
            "label2id": None,
            "problem_type": None,
        }

    def _weights(self) -> dict[str, keras.Variable]:
        """By Hugging Face's names."""
        weights = (
            self.dense.kernel,
            self.dense.bias,
            self.norm.gamma,
            self.norm.beta,
            self.words.bias,
        )
        return dict(zip(self.shape.tensors, weights, strict=True))

    def _refuse_untied(self, copies: Mapping[str, np.ndarray]) -> None:
        embeddings = self.backbone.embeddings.word.numpy()
        for name, copy in copies.items():
            if not np.array_equal(copy.astype(np.float32), embeddings):
                raise WeightsError(
                    f"{name} is no copy of the word embeddings: tie_word_embeddings false is not"
                    " supported. Take a checkpoint that ties them."
                )


def _dense(config: BackboneConfig, seed: int) -> keras.layers.Dense:
    initial = keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=seed)
    dense = keras.layers.Dense(
        config.embedding_size,
        kernel_initializer=initial,
        name="dense",
        dtype="float32",
    )
    dense.build((None, config.hidden_size))
    return dense


def _norm(config: BackboneConfig) -> keras.layers.LayerNormalization:
    norm = keras.layers.LayerNormalization(
        epsilon=config.layer_norm_epsilon, name="norm", dtype="float32"
    )
    norm.build((None, config.embedding_size))
    return norm


def _words(config: BackboneConfig) -> keras.layers.Layer:
    words = keras.layers.Layer(name="words", dtype="float32")
    words.bias = words.add_weight((config.vocabulary_size,), initializer="zeros", name="bias")
    words.built = True
    return words
