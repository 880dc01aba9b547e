"""The other side of benchmarks/generation.py: writes a random GPT-2, then answers prompts, a JSON
object a line.

usage: hf_generate.py '{"folder", "words", "hidden", "layers", "heads", "positions", "new"}'
(pip install torch transformers)
"""

import json
import sys
import time

import torch
import transformers


def main(settings: dict) -> None:
    """Reads prompts from stdin until it ends."""
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=settings["words"],
        n_embd=settings["hidden"],
        n_layer=settings["layers"],
        n_head=settings["heads"],
        n_positions=settings["positions"],
        bos_token_id=0,
        eos_token_id=None,
        initializer_range=0.2,
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    model.save_pretrained(settings["folder"])
    print("ready", flush=True)
    for line in sys.stdin:
        prompts = torch.tensor(json.loads(line)["prompts"])
        start = time.perf_counter()
        with torch.no_grad():
            out = model.generate(
                prompts,
                attention_mask=torch.ones_like(prompts),
                max_new_tokens=settings["new"],
                do_sample=False,
                pad_token_id=0,
            )
        seconds = time.perf_counter() - start
        print(
            json.dumps({"seconds": seconds, "tokens": out[:, prompts.shape[1] :].tolist()}),
            flush=True,
        )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
