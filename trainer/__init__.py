"""Fine-tunes BERT- and GPT-family language models with TensorFlow and Keras."""

__version__ = "0.1.0"
