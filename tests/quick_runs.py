"""What costs a run seconds and is the same in each: done once, or on a small scale.

A tokenizer is built once of equal files, and a graph that encodes is traced once for all tests of a
process that read texts alike. Each takes a second or more; several hundred tests prepare toy data
in a few dozen ways. The processes that prove exports import TensorFlow once. And TensorFlow does
not rewrite its graphs to make them a little faster, a sixth of a short run; it does in the
processes that tests start.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable

import pytest
import tensorflow as tf

from tests.fresh_processes import run_forked
from trainer.data import encoding, prepare
from trainer.data.encoding import EncodingGraph
from trainer.data.preparation import SPLITS
from trainer.data.reader import Reader
from trainer.run import throughput
from trainer.serve import proof
from trainer.settings.schema import DataSettings
from trainer.text import TOKENIZERS
from trainer.text.tokenizer import Tokenizer

WEIGHTS = (".safetensors", ".bin")  # files of a folder that no tokenizer reads

write_splits = prepare.write_splits


def measure_a_small_peak() -> None:
    """After each training it takes a second and more on all cores."""
    throughput.PEAK_SIZES["CPU"] = 256


def repeat_requests_soon() -> None:
    """Requests to Cloud Storage that fail on purpose are repeated after milliseconds."""
    from google.cloud.storage import retry

    retry.DEFAULT_RETRY = retry.DEFAULT_RETRY.with_delay(initial=0.02, maximum=60, multiplier=2)


def leave_graphs_as_they_are() -> None:
    """Turns Grappler off."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def share_tokenizers(patch: pytest.MonkeyPatch) -> None:
    """Lets `load_tokenizer` return what it built of equal files before, with its traced graphs."""
    for kind, build in list(TOKENIZERS.items()):
        patch.setitem(TOKENIZERS, kind, _built_once(build))


def _built_once(
    build: Callable[[pathlib.Path], Tokenizer],
) -> Callable[[pathlib.Path], Tokenizer]:
    built: dict[str, tuple[Tokenizer, dict[str, object]]] = {}

    def of_folder(folder: pathlib.Path) -> Tokenizer:
        content = content_of(folder)
        if content not in built:
            tokenizer = build(folder)
            built[content] = (tokenizer, dict(vars(tokenizer)))
        tokenizer, attributes = built[content]
        vars(tokenizer).update(attributes)  # a test may have taken its end-of-text token away
        return tokenizer

    return of_folder


def content_of(folder: pathlib.Path) -> str:
    """Digest of the files of a folder, but for weights."""
    digest = hashlib.blake2b(digest_size=16)
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.suffix not in WEIGHTS:
            digest.update(f"{file.name} {file.stat().st_size} ".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def share_graphs(patch: pytest.MonkeyPatch) -> None:
    """Lets `prepare` take a graph that was traced before."""
    graphs: dict[tuple[type, str], EncodingGraph] = {}

    @functools.wraps(write_splits)
    def write(folder, settings, head, sources, *, graph=None, progress=None):
        if graph is None and isinstance(head.tokenizer, Tokenizer):
            facts = facts_of(settings, head)
            if facts not in graphs:
                graphs[facts] = encoding.encoder(head)
            graph = graphs[facts]
        write_splits(folder, settings, head, sources, graph=graph, progress=progress)

    patch.setattr(prepare, "write_splits", write)


def share_imports(patch: pytest.MonkeyPatch) -> None:
    """Lets the process that proves an export have TensorFlow when it begins."""
    patch.setattr(proof, "run_fresh", run_forked)


def facts_of(settings: DataSettings, head: Reader) -> tuple[type, str]:
    """What the tokens of a text depend on: the store's fingerprint, wherever the texts are."""
    nowhere = settings.model_copy(update=dict.fromkeys(SPLITS))
    return type(head), prepare._fingerprint(nowhere, head, head.tokenizer.fingerprint, {})
