"""The settings: their schema, and how a config, flags and the environment give them values."""
