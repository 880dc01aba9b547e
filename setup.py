"""For tools that ask for a setup.py. What the package is stands in pyproject.toml."""

import setuptools

setuptools.setup()
