"""Pretrained networks: their layers, and their weights in Hugging Face's format.

A network is small Keras 3 layers: encoder.py and decoder.py, made of a `BackboneConfig`. The
families of checkpoints are in families/, reading and writing them in huggingface/. What stands
above a backbone is a head, and tokens come from trainer/text: neither is here.
"""
