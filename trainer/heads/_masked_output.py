"""What stands between a backbone and its vocabulary where words are predicted from both sides.

It is a layer, a norm, and each word's bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from trainer.backbones.sites import FIRST_HEAD_SITE
from trainer.errors import WeightsError
from trainer.lazy import keras, tf

if TYPE_CHECKING:
    from trainer.backbones.backbone import Backbone


class MaskedOutput:
    """The layers, as Hugging Face's …ForMaskedLM of each family has them.

    Words are compared with the embeddings.
    """

    def __init__(self, backbone: Backbone, seed: int) -> None:
        config = backbone.config
        shape = config.family.masked_lm
        if shape is None:
            raise ValueError(f"expected an encoder. Received a backbone of {config.architecture}")
        self.family = config.family
        self.shape = shape
        self._embeddings = backbone.embeddings.word
        self.activation = self.shape.activation or config.activation
        initial = keras.initializers.TruncatedNormal(
            stddev=config.initializer_range, seed=seed + FIRST_HEAD_SITE
        )
        self.dense = keras.layers.Dense(
            config.embedding_size, kernel_initializer=initial, name="dense", dtype="float32"
        )
        self.dense.build((None, config.hidden_size))
        self.norm = keras.layers.LayerNormalization(
            epsilon=config.layer_norm_epsilon, name="norm", dtype="float32"
        )
        self.norm.build((None, config.embedding_size))
        self.words = keras.layers.Layer(name="words", dtype="float32")
        self.words.bias = self.words.add_weight(
            (config.vocabulary_size,), initializer="zeros", name="bias"
        )
        self.words.built = True
        self.layers = [self.dense, self.norm, self.words]

    def transform(self, hidden: tf.Tensor) -> tf.Tensor:
        """(M, H) -> (M, E) float32, to be compared with the embeddings."""
        from trainer.backbones.activations import ACTIVATIONS

        return self.norm(ACTIVATIONS[self.activation](self.dense(tf.cast(hidden, tf.float32))))

    def bias(self) -> tf.Tensor:
        """(V,) float32."""
        return tf.convert_to_tensor(self.words.bias.value)

    def _parts(self) -> dict[str, keras.Variable]:
        weights = (
            self.dense.kernel,
            self.dense.bias,
            self.norm.gamma,
            self.norm.beta,
            self.words.bias,
        )
        return dict(zip(self.shape.tensors, weights, strict=True))

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
        parts = self._parts()
        for name, weight in parts.items():
            if name not in tensors or tensors[name].T.shape != tuple(weight.shape):
                return []
        for name, weight in parts.items():
            weight.assign(tensors[name].T)
        return [*parts, *copies]

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, object]]:
        """The layers under Hugging Face's names, and what config.json says of them."""
        tensors = {
            name: np.ascontiguousarray(weight.numpy().T) for name, weight in self._parts().items()
        }
        return tensors, {
            "architectures": [self.family.class_for("ForMaskedLM")],
            "tie_word_embeddings": True,
            "id2label": None,
            "label2id": None,
            "problem_type": None,
        }

    def _refuse_untied(self, copies: Mapping[str, np.ndarray]) -> None:
        embeddings = self._embeddings.numpy()
        for name, copy in copies.items():
            if not np.array_equal(copy.astype(np.float32), embeddings):
                raise WeightsError(
                    f"{name} is no copy of the word embeddings: tie_word_embeddings false is not"
                    " supported. Take a checkpoint that ties them."
                )
