"""SentencePiece's unigram model in the graph, with the ids of XLM-R's and ALBERT's tokenizers.

Per batch: decode to code points, normalise them by tables that were built by asking Hugging Face,
put the mark of a space before each word, and ask a table of the vocabulary for each piece: a word,
cut between characters that stand side by side in no token, as nearly all are in Chinese. Only
pieces that are no token, each once, go through Viterbi's algorithm, all at once, a character at a
time.

tensorflow-text has SentencePiece as an op. It adds scores in float32, so that between "o oo" and
"oo o" rounding decides, where Hugging Face's float64 takes the first; and it applies the character
map otherwise. Seen: 72 of 25,000 reviews differ.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Mapping
from typing import TypedDict

import numpy as np
import tensorflow as tf

from trainer.files.json_file import JsonObject
from trainer.text.added_tokens import RAW_SPACES, Added, Spans, around_added, make_added
from trainer.text.backend import Backend
from trainer.text.characters import CodePointMap, punctuation
from trainer.text.flat_arrays import (
    count_before,
    following,
    keep_ids_below,
    previous,
    to_strings,
)
from trainer.text.integer_table import IntegerTable, pair_key, pair_keys
from trainer.text.normalized import Normalized
from trainer.text.piece_table import whole_pieces
from trainer.text.sentencepiece_normalizer import (
    BY_CHARACTER,
    MARK,
    SentencePieceNormalizer,
    Step,
    hugging_face_normalizer,
    mark_words,
)
from trainer.text.sentencepiece_offsets import place_tokens, to_source
from trainer.text.tokenizer import Tokenizer
from trainer.text.unigram_lattice import UnigramLattice

# characters of all pieces x those of the longest, which is what their table takes; XLM-R's are 2 *
# 10^7
_LARGEST_LATTICE = 10**8


class _Model(TypedDict):
    """What of a unigram model of tokenizer.json is read here."""

    vocab: list[tuple[str, float]]
    unk_id: int


class SentencePieceTokenizer(Tokenizer):
    """XLM-R's and ALBERT's tokenizer."""

    def __init__(self, backend: Backend) -> None:
        """Builds the constants of the graph.

        Raises:
            WeightsError: the tokenizer does something else before its unigram model.
        """
        super().__init__(name="sentencepiece")
        _check_model(backend)
        _check_pre_tokenizer(backend)
        steps = _steps(backend)
        model: _Model = backend.content["model"]
        pieces, scores_of_pieces = zip(*model["vocab"], strict=True)
        scores = np.array(scores_of_pieces)
        # of equal pieces the last counts
        ids = {piece: id for id, piece in enumerate(pieces)}
        self.template = backend.template
        self.mask_id = backend.mask_id
        self.eos_id = backend.eos_id
        self.has_pad = backend.pad_id is not None
        self.pad_id = backend.pad_id or 0
        self.unk_id = model["unk_id"]
        self.vocabulary = backend.vocabulary(ids)
        raw = [(token, token.content) for token in backend.added_tokens if not token.normalized]
        self._added = make_added(raw, RAW_SPACES)
        self._normalized_added = _normalized_added(backend)
        with tf.device("CPU:0"):
            self._normalizer = SentencePieceNormalizer(steps)
            self._punctuation = CodePointMap(*punctuation())
            silent = {*backend.special, self.unk_id}
            self._take_vocabulary(ids, scores, silent)
        self.fingerprint = self._make_fingerprint(scores)

    def _take_vocabulary(
        self, ids: Mapping[str, int], scores: np.ndarray, silent: set[int]
    ) -> None:
        """Builds the constants of what each token is.

        Args:
            ids: of each piece.
            scores: (V,) float64, of each id.
            silent: tokens that write nothing.
        """
        widths = [len(piece) for piece in self.vocabulary]
        widths[self.unk_id] = 1
        texts = [piece.replace(MARK, " ") for piece in self.vocabulary]
        for id in silent:
            texts[id] = ""
        self._widths = tf.constant(widths, tf.int32)
        self._texts = tf.constant(texts)

        ids = {piece: id for piece, id in ids.items() if piece}
        neighbours = _neighbours(ids)
        self._neighbours = IntegerTable(np.array(neighbours, np.int64))
        self._lattice = UnigramLattice(ids, scores, self.unk_id)
        known_pieces = []
        known_ids = []
        for piece, id in ids.items():
            if id != self.unk_id:
                known_pieces.append(piece.encode())
                known_ids.append(id)
        self._table = whole_pieces(known_pieces, known_ids, self._lattice.best_tokens)

    def _make_fingerprint(self, scores: np.ndarray) -> str:
        """The tables are part of it: a release of `tokenizers` may know other characters."""
        facts = [
            self.vocabulary,
            scores.tolist(),
            self._added,
            self._normalized_added,
            self.template,
            self._normalizer.pairs,
            self._normalizer.steps,
        ]
        content = json.dumps(facts).encode() + self._normalizer.table_bytes
        return hashlib.sha256(content).hexdigest()

    @property
    def token_bytes(self) -> list[bytes]:
        """What each token writes, with the space before it; special and unknown ones nothing."""
        return self._texts.numpy().tolist()

    @property
    def words(self) -> list[str]:
        """How a token is shown that stands alone."""
        return [
            written.decode().lstrip(" ") or piece
            for written, piece in zip(self.token_bytes, self.vocabulary, strict=True)
        ]

    def decode(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """The texts of rows of tokens, without the space that the first word has before it.

        Args:
            ids: (B, None) int32.
        Returns:
            (B,) string.
        """
        with tf.device("CPU:0"):
            ids = keep_ids_below(ids, tf.size(self._texts))
            texts = tf.gather(self._texts, ids.values)
            rows = ids.with_values(texts)
            joined = tf.strings.reduce_join(rows, axis=1)
            return tf.strings.regex_replace(joined, "^ ", "")

    def _split(self, texts: tf.Tensor, *, with_offsets: bool) -> Spans:
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        origins = characters.row_splits
        normalized = self._normalizer.normalize(characters)
        if self._normalized_added is None:
            return self._split_words(normalized, origins, with_offsets=with_offsets)

        def split(parts: tf.Tensor) -> Spans:
            decoded = tf.strings.unicode_decode(parts, "UTF-8")
            part = Normalized.unchanged(decoded)
            return self._split_words(part, part.splits, with_offsets=with_offsets)

        encoded = to_strings(normalized.codes, normalized.splits)
        spans = around_added(
            encoded,
            self._normalized_added,
            "UTF8_CHAR",
            split,
            with_offsets=with_offsets,
            clean=True,
        )
        if not with_offsets:
            return spans
        return to_source(spans, normalized, origins)

    def _split_words(self, texts: Normalized, origins: tf.Tensor, *, with_offsets: bool) -> Spans:
        """Tokenizes normalised texts without added tokens.

        Args:
            texts: without the marks of words.
            origins: (B + 1,) int64, where the original characters of each text begin.
            with_offsets: False: starts, ends and words are empty.
        """
        marked = mark_words(texts)
        opens_word = marked.codes == ord(MARK)
        pairs = pair_keys(previous(marked.codes, 0), marked.codes)
        are_neighbours = self._neighbours.find(pairs) >= 0
        ids, splits = self._table.tokens_of_texts(
            marked.codes,
            marked.splits,
            opens_word | ~are_neighbours,
            self._lattice.best_tokens,
        )

        widths = tf.gather(self._widths, ids)
        ends = tf.cumsum(widths)  # in characters of all marked texts
        starts = ends - widths
        # A word's neighbouring unknown characters are one token.
        is_unknown = ids == self.unk_id
        follows_unknown = previous(is_unknown, False)
        begins_word = tf.gather(opens_word, starts)
        goes_on = is_unknown & follows_unknown & ~begins_word
        kept = ~goes_on
        splits = tf.gather(count_before(kept), splits)
        ids = tf.boolean_mask(ids, kept)
        if not with_offsets:
            return Spans.without_places(ids, splits)
        starts = tf.boolean_mask(starts, kept)
        ends = following(starts, tf.size(marked.codes))
        spans = Spans(ids, splits, starts, ends, words=ids[:0])
        return place_tokens(spans, marked, origins, self._punctuation)


def _neighbours(pieces: Iterable[str]) -> list[int]:
    """Keys of the characters that stand side by side in a piece, sorted."""
    neighbours = set()
    for piece in pieces:
        for first, second in itertools.pairwise(piece):
            neighbours.add(pair_key(ord(first), ord(second)))
    return sorted(neighbours)


def _normalized_added(backend: Backend) -> Added | None:
    """What finds the added tokens that are looked for in normalised texts."""
    step = backend.content["normalizer"]
    normalizer = hugging_face_normalizer([step] if step else [])
    tokens = []
    for token in backend.added_tokens:
        if token.normalized:
            content = normalizer.normalize_str(token.content)
            tokens.append((token, content))
    return make_added(tokens, RAW_SPACES)


def _check_model(backend: Backend) -> None:
    """Raises WeightsError where the unigram model is of another kind, or has no sound scores."""
    model = backend.content["model"]
    backend.require(not model.get("byte_fallback"), "model.byte_fallback", "false", True)
    pieces = [piece for piece, _ in model["vocab"]]
    unk_id = model.get("unk_id")
    backend.require(
        type(unk_id) is int and 0 <= unk_id < len(pieces),
        "model.unk_id",
        f"the number of one of its {len(pieces):,} tokens",
        unk_id,
    )
    scores = [score for _, score in model["vocab"]]
    all_finite = all(map(math.isfinite, scores))
    backend.require(all_finite, "scores", "finite numbers", "others")
    longest = max(map(len, pieces))
    characters = sum(map(len, pieces))
    backend.require(
        0 < longest * characters <= _LARGEST_LATTICE,
        "longest piece",
        "one of a few characters",
        f"{longest:,} of them",
    )


def _steps(backend: Backend) -> list[Step]:
    """The steps of the normaliser that change more than white space.

    Raises:
        WeightsError: one of them is not known here.
    """
    normalizer = backend.content["normalizer"]
    steps: list[Step] = [normalizer] if normalizer else []
    if normalizer and normalizer["type"] == "Sequence":
        steps = normalizer["normalizers"]
    # Words are split at spaces, however many there are.
    steps = [step for step in steps if not _is_of_spaces(step)]
    for step in steps:
        backend.require(
            step["type"] in (*BY_CHARACTER, "Replace"),
            "normalizer",
            f"made of Replace, {', '.join(BY_CHARACTER)}",
            step["type"],
        )
        if step["type"] == "Replace":
            backend.require(
                _replaces_pair(step),
                "normalizer's Replace",
                "of a pair of equal characters by one",
                step,
            )
    return steps


def _is_of_spaces(step: Step) -> bool:
    kind = step["type"]
    if kind == "Replace":
        return step["pattern"].get("Regex") == " {2,}"
    return kind == "Strip"


def _replaces_pair(step: Step) -> bool:
    old = step["pattern"].get("String", "")
    if len(old) != 2 or len(step["content"]) != 1:
        return False
    return old[0] == old[1]


def _check_pre_tokenizer(backend: Backend) -> None:
    """Raises WeightsError where words are not split at spaces, or not marked with one."""
    pre_tokenizer = backend.content["pre_tokenizer"] or {}
    *others, last = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    splits_at_spaces = all(part.get("type") == "WhitespaceSplit" for part in others)
    backend.require(
        splits_at_spaces and _marks_words(last),
        "pre_tokenizer",
        "Metaspace, with a space before each text",
        pre_tokenizer,
    )


def _marks_words(part: JsonObject) -> bool:
    return (
        part.get("type") == "Metaspace"
        and part.get("prepend_scheme", "always") == "always"
        and part.get("replacement") == MARK
    )
