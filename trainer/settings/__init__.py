"""The settings: their schema, and how a config, flags and the environment give them values.

The settings of heads and of sources stand beside their code; what a run does with a setting is not
known here.
"""
