"""Writes tests/golden/generation.json: what Hugging Face's generate makes of the tiny GPT-2 in
backbones/gpt2_words.

usage: make_generation.py        (pip install torch transformers; made with torch 2.13, transformers
5.23)
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

HERE = Path(__file__).parent
CASES = {
    "greedy": {},
    "greedy, repetition": {"repetition_penalty": 1.7},
    "2 beams": {"num_beams": 2},
    "4 beams": {"num_beams": 4},
    "4 beams, long": {"num_beams": 4, "length_penalty": 2.0},
    "4 beams, short": {"num_beams": 4, "length_penalty": -1.0},
    "3 beams, early": {"num_beams": 3, "early_stopping": True},
    "3 beams, never": {"num_beams": 3, "early_stopping": "never"},
    "3 beams, repetition": {"num_beams": 3, "repetition_penalty": 1.4},
    "greedy, no pair twice": {"no_repeat_ngram_size": 2},
    "greedy, no token twice": {"no_repeat_ngram_size": 1, "min_new_tokens": 6},
    "3 beams, no pair twice": {"num_beams": 3, "no_repeat_ngram_size": 2, "min_new_tokens": 4},
    "2 beams, no triple twice": {"num_beams": 2, "no_repeat_ngram_size": 3},
    "greedy, five at least": {"min_new_tokens": 5},
    "4 beams, five at least": {"num_beams": 4, "min_new_tokens": 5},
    "greedy, one token": {"max_new_tokens": 1},
    "5 beams, one token": {"num_beams": 5, "max_new_tokens": 1},
}


def main() -> None:
    """Prompts of 1 to 6 tokens, padded in front; token 7 ends a text."""
    folder = HERE / "backbones" / "gpt2_words"
    config = transformers.GPT2Config(
        **{**json.loads((folder / "config.json").read_text()), "n_positions": 16}
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    model.load_state_dict(
        {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()},
        strict=False,
    )
    model.tie_weights()
    rng = np.random.default_rng(11)
    prompts = [rng.integers(8, 61, length).tolist() for length in (1, 6, 3, 5, 2, 4, 6, 6)]
    found = {}
    for ends in (7, 28, 42):
        for name, settings in CASES.items():
            new, scores = [], []
            # which would count padding, too
            for some in (
                [[prompt] for prompt in prompts]
                if "no_repeat_ngram_size" in settings
                else [prompts]
            ):
                longest = max(map(len, some))
                ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in some])
                mask = torch.tensor(
                    [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in some]
                )
                out = model.generate(
                    ids,
                    attention_mask=mask,
                    do_sample=False,
                    eos_token_id=ends,
                    pad_token_id=0,
                    bos_token_id=0,
                    return_dict_in_generate=True,
                    output_scores=True,
                    **{"max_new_tokens": 9, **settings},
                )
                new += out.sequences[:, longest:].tolist()
                scores += out.sequences_scores.tolist() if "num_beams" in settings else []
            new = [row + [0] * (max(map(len, new)) - len(row)) for row in new]
            found[f"{name}, {ends} ends"] = {
                "settings": {"max_new_tokens": 9, **settings},
                "eos_id": ends,
                "tokens": new,
                "scores": scores or None,
            }
    (HERE / "generation.json").write_text(json.dumps({"prompts": prompts, "cases": found}) + "\n")


if __name__ == "__main__":
    main()
