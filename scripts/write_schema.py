"""Writes configs/schema.json, from which editors complete the keys of a config.

Run it after a change of the schema.
"""

import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE = ROOT / "configs" / "schema.json"


def current() -> str:
    """What the file should hold."""
    sys.path.insert(0, str(ROOT))
    from trainer.settings.sections import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(current(), encoding="utf-8")
