"""Encodes the splits of a run, or finds them encoded by an earlier one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from types import MappingProxyType

from trainer.data import store_folder
from trainer.data.checked import CHECKSUMS
from trainer.data.encoding import EncodingGraph, encoder
from trainer.data.ledger import Ledger
from trainer.data.preparation import SPLITS, Preparation, Progress
from trainer.data.reader import Reader, Vocabulary
from trainer.data.store import FORMAT, TokenStore
from trainer.files.checksums import DamagedError, Fingerprint, read_sealed, verify
from trainer.files.mapped import blocks
from trainer.files.mirror import cache_folder, use_cache
from trainer.settings.schema import DataSettings
from trainer.sources import Source, open_source

NO_MEANINGS: Mapping[str, str] = MappingProxyType({})


@dataclasses.dataclass(frozen=True)
class Prepared:
    """The encoded splits, their ledger, and what the head learnt from train (the label names)."""

    folder: pathlib.Path
    splits: dict[str, TokenStore]
    ledger: Ledger
    vocabulary: Vocabulary
    reused: bool
    # what was damaged in an earlier run's splits, so that they were encoded anew
    replaced: str = ""

    def digest(self) -> str:
        """Of the examples, their labels, their order and the vocabulary.

        It is equal on two hosts that may train together.
        """
        vocabulary = json.dumps(self.vocabulary, sort_keys=True).encode()
        digest = hashlib.blake2b(vocabulary, digest_size=16)
        for split, store in sorted(self.splits.items()):
            for name in ("content_hash", "label"):
                values = store.columns.get(name, store.tokens.get(name))
                # a language model's examples have no label
                if values is None:
                    continue
                digest.update(f"{split} {name}".encode())
                for block in blocks(values):
                    digest.update(block.tobytes())
            for block in blocks(store.lengths):
                digest.update(block.tobytes())
        return digest.hexdigest()


def prepare(
    settings: DataSettings,
    head: Reader,
    tokenizer_fingerprint: str,
    *,
    train: Source | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Encodes every split, or finds them encoded by an earlier run.

    Args:
        settings: of the data.
        head: reads the examples.
        tokenizer_fingerprint: of the tokenizer.
        train: in place of what data.train names, such as the first block of a stream.
        progress: called with (bytes or examples read, how many there are).
    Raises:
        DataError: a split without examples, an unknown field, a label that only a later split has,
            …
    """
    use_cache(settings.cache_dir)
    sources = _open_sources(settings, train)
    fingerprint = _fingerprint(settings, head, tokenizer_fingerprint, sources)
    folder = cache_folder() / fingerprint
    found = _found(folder, head)
    if isinstance(found, Prepared):
        return found
    with store_folder.one_at_a_time(folder):
        meanwhile = _found(folder, head)  # by a worker beside this one
        if isinstance(meanwhile, Prepared):
            return meanwhile
        store_folder.discard(folder)
        with store_folder.building(folder) as temporary:
            write_splits(temporary, settings, head, sources, progress=progress)
    prepared = load(folder, head.losses_of_data, reused=False)
    return dataclasses.replace(prepared, replaced=found or meanwhile)


def _open_sources(settings: DataSettings, train: Source | None) -> dict[str, Source]:
    """The sources of the splits that have one of their own."""
    sources = {}
    for split in SPLITS:
        spec = getattr(settings, split)
        if not isinstance(spec, str):
            continue
        if split == "train" and train:
            sources[split] = train
        else:
            sources[split] = open_source(settings, split, spec)
    return sources


def _found(folder: pathlib.Path, head: Reader) -> Prepared | str:
    """What an earlier run left, or else what is damaged about it; an empty text where there was
    none.
    """
    if not folder.exists():
        return ""
    try:
        return load(folder, head.losses_of_data, reused=True)
    except DamagedError as error:
        return str(error)


def write_splits(
    folder: pathlib.Path,
    settings: DataSettings,
    head: Reader,
    sources: Mapping[str, Source],
    *,
    graph: EncodingGraph | None = None,
    progress: Progress | None = None,
) -> None:
    """Encodes what the sources have into stores in `folder`, for `load`.

    Args:
        sources: of the splits that have one of their own.
        graph: what `encoder` returned, if it was called before.
        progress: as for `prepare`.
    """
    graph = graph or encoder(head)
    preparation = Preparation(settings, head, sources, graph, progress)
    preparation.write(folder)


def load(
    folder: pathlib.Path, own_meanings: Mapping[str, str] = NO_MEANINGS, *, reused: bool
) -> Prepared:
    """What `prepare` wrote to a folder.

    Args:
        folder: of the stores.
        own_meanings: what the head's own kinds of the ledger mean.
        reused: it was not written now.
    Raises:
        DamagedError: it is not all as it was written.
    """
    notes = read_sealed(folder / "ledger.json")
    splits = {}
    for split, expected in notes["splits"].items():
        verify(folder / split / CHECKSUMS, Fingerprint(*expected))
        splits[split] = TokenStore(folder / split)
    ledger = Ledger(own_meanings, notes["ledger"])
    return Prepared(folder, splits, ledger, notes["vocabulary"], reused)


def _fingerprint(
    settings: DataSettings, head: Reader, tokenizer_fingerprint: str, sources: Mapping[str, Source]
) -> str:
    held_out = {}
    for split in SPLITS:
        spec = getattr(settings, split)
        if not isinstance(spec, str):
            held_out[split] = spec
    facts = [
        FORMAT,
        settings.model_dump(exclude={"batching", "cache_dir", *SPLITS}),
        held_out,
        head.preparation_settings(),
        tokenizer_fingerprint,
        {split: source.fingerprint() for split, source in sources.items()},
    ]
    facts_json = json.dumps(facts, sort_keys=True)
    return hashlib.blake2b(facts_json.encode(), digest_size=16).hexdigest()
