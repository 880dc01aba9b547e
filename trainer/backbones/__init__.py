"""Pretrained networks as small Keras 3 layers, and their weights in Hugging Face's format, both
ways.
"""
