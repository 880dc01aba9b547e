"""The public face of podtune: the command and the Python API. The work is done in `trainer`."""

from trainer import __version__

__all__ = ["__version__"]
