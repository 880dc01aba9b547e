"""Names of the Hugging Face hub where a folder was expected: what to write instead."""

from __future__ import annotations

import difflib
import os
import re

from trainer.errors import shown_name

# Organisation -> models that people write without it.
MODELS = {
    "google-bert": (
        "bert-base-uncased bert-base-cased bert-large-uncased bert-large-cased "
        "bert-base-chinese bert-base-german-cased bert-base-multilingual-uncased "
        "bert-base-multilingual-cased bert-large-uncased-whole-word-masking "
        "bert-large-cased-whole-word-masking "
        "bert-large-uncased-whole-word-masking-finetuned-squad"
    ),
    "distilbert": (
        "distilbert-base-uncased distilbert-base-cased distilbert-base-multilingual-cased "
        "distilbert-base-german-cased distilbert-base-uncased-finetuned-sst-2-english "
        "distilbert-base-uncased-distilled-squad distilbert-base-cased-distilled-squad "
        "distilroberta-base distilgpt2"
    ),
    "FacebookAI": (
        "roberta-base roberta-large roberta-large-mnli xlm-roberta-base xlm-roberta-large"
    ),
    "openai-community": "gpt2 gpt2-medium gpt2-large gpt2-xl openai-gpt",
    "albert": "albert-base-v1 albert-base-v2 albert-large-v2 albert-xlarge-v2 albert-xxlarge-v2",
    "google": (
        "electra-small-discriminator electra-base-discriminator "
        "electra-large-discriminator electra-small-generator mobilebert-uncased "
        "gemma-3-270m gemma-3-1b-pt gemma-2-2b"
    ),
    "microsoft": (
        "deberta-v3-small deberta-v3-base deberta-v3-large deberta-base "
        "MiniLM-L12-H384-uncased mpnet-base"
    ),
    "sentence-transformers": (
        "all-MiniLM-L6-v2 all-MiniLM-L12-v2 all-mpnet-base-v2 "
        "paraphrase-multilingual-MiniLM-L12-v2 paraphrase-multilingual-mpnet-base-v2"
    ),
    "hfl": (
        "chinese-bert-wwm chinese-bert-wwm-ext chinese-roberta-wwm-ext "
        "chinese-roberta-wwm-ext-large chinese-macbert-base chinese-macbert-large "
        "chinese-electra-180g-base-discriminator rbt3 rbtl3"
    ),
    "nghuyong": "ernie-1.0-base-zh ernie-3.0-base-zh ernie-3.0-mini-zh ernie-2.0-base-en",
    "answerdotai": "ModernBERT-base ModernBERT-large",
    "HuggingFaceTB": "SmolLM2-135M SmolLM2-135M-Instruct SmolLM2-360M SmolLM2-1.7B",
    "Qwen": "Qwen2.5-0.5B Qwen2.5-1.5B Qwen3-0.6B",
    "TinyLlama": "TinyLlama-1.1B-Chat-v1.0",
    "meta-llama": "Llama-3.2-1B Llama-3.2-3B",
    "mistralai": "Mistral-7B-v0.1",
}
OF_MODEL = {
    model.lower(): f"{organisation}/{model}"
    for organisation, models in MODELS.items()
    for model in models.split()
}
PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)/([\w.-]+/[\w.-]+)(?:/.*)?"
)
SHAPE = re.compile(r"\w[\w.-]*/\w[\w.-]*(?:@[\w.-]+)?")  # org/name[@revision]
NEAR = 0.9
LONGEST_NAME = 100  # characters that are compared


def offer(path: str) -> str:
    """What to write for a name of the hub, as a sentence; nothing where `path` looks like none.

    Args:
        path: a folder that is not there.
    """
    if page := PAGE.fullmatch(path):
        return f"On the Hugging Face hub, write hf://{shown_name(page[1])}."
    name, _, revision = path.partition("@")
    compared = name.lower()[:LONGEST_NAME]
    if known := difflib.get_close_matches(compared, OF_MODEL, n=1, cutoff=NEAR):
        suffix = f"@{shown_name(revision)}" if revision else ""
        return f"On the Hugging Face hub it is hf://{OF_MODEL[known[0]]}{suffix}."
    if SHAPE.fullmatch(path) and not os.path.isdir(path.partition("/")[0]):
        return f"If it is a name of the Hugging Face hub, write hf://{shown_name(path)}."
    return ""
