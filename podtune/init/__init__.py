"""`podtune init DATA`: looks at the data, says what it takes them for, and writes a config.

Where two readings are as likely it asks, or says which flag decides; it does not guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from podtune.init import examples, options
from podtune.init.new_config import write_config
from trainer.errors import ConfigError


def run(arguments: Sequence[str]) -> int:
    """Writes a config. Returns the exit code.

    Raises:
        ConfigError: the data cannot be read, a question stays open, or the file exists.
    """
    given = options.parse(arguments)
    if given.example is not None:
        examples.copy(given.example, given.output)
        return 0
    if given.data is None:
        raise ConfigError(
            "podtune init: expected DATA, a file or folder of examples, or --example=NAME. podtune"
            " init -h has examples."
        )
    write_config(given.data, given)
    return 0
