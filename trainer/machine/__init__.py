"""The machine that the process runs on: its memory, its processor, its allocator.

Devices that compute, such as GPUs and TPUs, are in `trainer/run/distribution.py`.
"""
