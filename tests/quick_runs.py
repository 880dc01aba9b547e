"""What costs a run seconds and is the same in each: done once, or on a small scale.

Graphs that encode are traced once for all tests of a process that read texts alike. Tracing one
takes a second or more; several hundred tests prepare toy data in a few dozen ways.
"""

from __future__ import annotations

import functools
import json

import pytest

from trainer.data import encoding, prepare
from trainer.data.encoding import EncodingGraph
from trainer.data.preparation import SPLITS
from trainer.data.reader import Reader
from trainer.run import throughput
from trainer.settings.schema import DataSettings
from trainer.text.tokenizer import Tokenizer

write_splits = prepare.write_splits


def measure_a_small_peak() -> None:
    """After each training it takes a second and more on all cores."""
    throughput.PEAK_SIZES["CPU"] = 256


def share_graphs(patch: pytest.MonkeyPatch) -> None:
    """Lets `prepare` take a graph that was traced before."""
    graphs: dict[str, EncodingGraph] = {}

    @functools.wraps(write_splits)
    def write(folder, settings, head, sources, *, graph=None, progress=None):
        if graph is None and isinstance(head.tokenizer, Tokenizer):
            facts = facts_of(settings, head)
            if facts not in graphs:
                graphs[facts] = encoding.encoder(head)
            graph = graphs[facts]
        write_splits(folder, settings, head, sources, graph=graph, progress=progress)

    patch.setattr(prepare, "write_splits", write)


def facts_of(settings: DataSettings, head: Reader) -> str:
    """What the tokens of a text depend on, as the store's fingerprint has it."""
    facts = [
        f"{type(head).__module__}.{type(head).__qualname__}",
        settings.model_dump(exclude={"batching", "cache_dir", *SPLITS}),
        head.preparation_settings(),
        head.tokenizer.fingerprint,
    ]
    return json.dumps(facts, sort_keys=True)
