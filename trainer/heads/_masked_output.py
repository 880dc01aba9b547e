"""What stands between a backbone and its vocabulary where words are predicted from both sides: a
layer, a norm, and each word's bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.backbones.families import FAMILIES, FIRST_HEAD_SITE
from trainer.errors import WeightsError
from trainer.lazy import keras, tf

# In Hugging Face's names.
TENSORS = {
    "bert": (
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.bias",
    ),
    "electra": (
        "generator_predictions.dense",
        "generator_predictions.LayerNorm",
        "generator_lm_head.bias",
    ),
    "distilbert": ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias"),
    "albert": ("predictions.dense", "predictions.LayerNorm", "predictions.bias"),
}
# Copies of the embeddings and of the bias, which Hugging Face ties.
COPIES = (
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
    "generator_lm_head.weight",
    "vocab_projector.weight",
    "lm_head.decoder.weight",
    "lm_head.decoder.bias",
    "predictions.decoder.weight",
    "predictions.decoder.bias",
)


def tensor_names(architecture: str) -> list[str]:
    """What a checkpoint with these layers has, in Hugging Face's names: kernel and bias, scale and
    shift, each word's bias.
    """
    dense, norm, bias = TENSORS[architecture]
    return [f"{dense}.weight", f"{dense}.bias", f"{norm}.weight", f"{norm}.bias", bias]


class MaskedOutput:
    """The layers, as Hugging Face's …ForMaskedLM of each family has them; words are compared with
    the embeddings.
    """

    def __init__(self, backbone: Any, seed: int) -> None:
        config = backbone.config
        self.architecture = config.architecture
        self._embeddings = backbone.embeddings.word
        self.activation = (
            "gelu"
            if config.architecture in ("electra", "roberta", "xlm-roberta")
            else config.activation
        )
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
        from trainer.backbones.layers import ACTIVATIONS

        return self.norm(ACTIVATIONS[self.activation](self.dense(tf.cast(hidden, tf.float32))))

    def bias(self) -> tf.Tensor:
        """(V,) float32."""
        return tf.convert_to_tensor(self.words.bias.value)

    def _parts(self) -> dict[str, Any]:
        weights = (
            self.dense.kernel,
            self.dense.bias,
            self.norm.gamma,
            self.norm.beta,
            self.words.bias,
        )
        return dict(zip(tensor_names(self.architecture), weights, strict=True))

    def load(self, tensors: Mapping[str, np.ndarray]) -> list[str]:
        """Takes over a checkpoint's own layers where it has them; returns the names of what was
        taken.

        Raises:
            WeightsError: its words before and behind the encoder have different embeddings.
        """
        for name in COPIES:
            if (
                name.endswith(".weight")
                and name in tensors
                and not np.array_equal(tensors[name].astype(np.float32), self._embeddings.numpy())
            ):
                raise WeightsError(
                    f"{name} is no copy of the word embeddings: tie_word_embeddings false is not"
                    " supported. Take a checkpoint that ties them."
                )
        parts = self._parts()
        if any(
            name not in tensors or tensors[name].T.shape != tuple(weight.shape)
            for name, weight in parts.items()
        ):
            return []
        for name, weight in parts.items():
            weight.assign(tensors[name].T)
        return [*parts, *(name for name in COPIES if name in tensors)]

    def save(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The layers under Hugging Face's names, and what config.json says of them; the embeddings
        are tied.
        """
        tensors = {
            name: np.ascontiguousarray(weight.numpy().T) for name, weight in self._parts().items()
        }
        return tensors, {
            "architectures": [f"{FAMILIES[self.architecture].class_name}ForMaskedLM"],
            "tie_word_embeddings": True,
            "id2label": None,
            "label2id": None,
            "problem_type": None,
        }
