"""The checkpoints of make_backbones.py, by what they are."""

import json
from pathlib import Path

BACKBONES = Path(__file__).parent / "backbones"
CLASSES = {
    config.parent.name: json.loads(config.read_text())["architectures"][0]
    for config in sorted(BACKBONES.glob("*/config.json"))
}


def of_task(*tasks: str) -> list[str]:
    """The folders whose class ends like one of these, such as ForTokenClassification."""
    return [case for case, name in CLASSES.items() if name.endswith(tasks)]
