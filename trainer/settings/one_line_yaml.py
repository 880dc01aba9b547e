"""Values on one line of YAML, which reads back to the same value."""

from __future__ import annotations

import math

import yaml

from trainer.settings import plain_yaml

LINE_ENDS = "\n\r\x85\u2028\u2029\ufeff"  # what YAML takes for one, and a byte order mark


def as_yaml(value: object) -> str:
    """A value on one line, as YAML."""
    dumped = yaml.dump(
        [value],
        Dumper=_OneLineDumper,
        default_flow_style=True,
        allow_unicode=True,
        width=math.inf,
        sort_keys=False,
    )
    return dumped.strip()[1:-1]


class _OneLineDumper(yaml.SafeDumper):
    """Escapes what YAML takes for line ends, which other quotes would fold."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if any(ch in LINE_ENDS for ch in text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


# so that text like 1e5 is written in quotes
_OneLineDumper.add_implicit_resolver(*plain_yaml.FLOAT_RESOLVER)
_OneLineDumper.add_representer(str, _represent_text)
