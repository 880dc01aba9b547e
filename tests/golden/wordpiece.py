"""Makes wordpiece.json: what transformers' AutoTokenizer answers for folders of tokenizer files.

usage: PYTHONPATH=tests/text python tests/golden/wordpiece.py      (made with transformers 5.23.0,
tokenizers 0.23.3)
"""

from __future__ import annotations

import json
import pathlib
import tempfile

from transformers import AutoTokenizer
from wordpiece_reference import folders, texts, write

if __name__ == "__main__":
    answers = {}
    for name, files in folders().items():
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), files)
            tokenizer = AutoTokenizer.from_pretrained(folder)
            encoded = tokenizer(texts(), add_special_tokens=False, return_offsets_mapping=True)
            special = [
                getattr(tokenizer, f"{kind}_token_id")
                for kind in ("pad", "unk", "cls", "sep", "mask")
            ]
            answers[name] = {
                "special": special,
                "ids": encoded["input_ids"],
                "offsets": encoded["offset_mapping"],
            }
    # Escaped: a linter or an editor must not touch the characters.
    path = pathlib.Path(__file__).with_suffix(".json")
    lines = [
        f"{json.dumps(name)}: {json.dumps(answer, separators=(',', ':'))}"
        for name, answer in answers.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
