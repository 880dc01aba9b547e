"""Makes a folder to train a small GPT-2 from: a byte-level BPE learnt from texts, and config.json;
no weights.

usage: make_small_gpt2.py TEXT_FILE… --folder=FOLDER [--vocabulary=4096] [--layers=6] [--hidden=352]
[--heads=11] [--positions=256] [--dropout=0.1]
"""

from __future__ import annotations

import argparse
import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"


def main() -> None:
    """Learns the merges and writes the files."""
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    for name, value in {
        "vocabulary": 4096,
        "layers": 6,
        "hidden": 352,
        "heads": 11,
        "positions": 256,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--dropout", type=float, default=0.1)
    options = parser.parse_args()
    if missing := [text for text in options.texts if not pathlib.Path(text).is_file()]:
        parser.error(f"there is no file {', '.join(missing)}")
    if options.hidden % options.heads:
        parser.error(
            f"--hidden: expected a multiple of --heads = {options.heads}. Received {options.hidden}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=options.vocabulary,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[END],
        show_progress=False,
    )
    tokenizer.train(options.texts, trainer)
    options.folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.folder / "tokenizer.json"))
    special = {f"{name}_token": END for name in ("bos", "eos", "unk")}
    (options.folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", **special}, indent=1) + "\n"
    )
    end = tokenizer.token_to_id(END)
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": tokenizer.get_vocab_size(),
        "n_layer": options.layers,
        "n_embd": options.hidden,
        "n_head": options.heads,
        "n_positions": options.positions,
        "bos_token_id": end,
        "eos_token_id": end,
        **{f"{place}_pdrop": options.dropout for place in ("attn", "embd", "resid")},
    }
    (options.folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
