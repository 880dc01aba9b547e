"""Which encoding bytes are in that are not UTF-8.

It is named only where the whole file reads as some language does, and no other way. A wrong name
does harm: a command such as iconv then succeeds, and what it writes is no longer the text. Western
text in WINDOWS-1252 decodes without an error as GB18030, for example.
"""

import codecs
import itertools
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from trainer.sources._alphabets import LATIN, SCRIPTS, WESTERN, Script

# Of the lines that are not ASCII: they are judged; the whole of a file is then decoded.
SAMPLE_BYTES = 1 << 16
EVIDENCE = 5.0  # by how much more likely, as a logarithm, a text is in its script than by chance
MARGIN = 4.0  # by so much more than in any other
COVERED = 0.95  # of the letters beyond ASCII, by the alphabet of one language
# Letters of a Latin alphabet beyond ASCII: with fewer, a name outside Western Europe would be a
# guess.
DISTINCT = 3
ODD_SHARE = 0.02  # of the characters beyond ASCII that may stand where a language has none
MARKS = {
    b"\xff\xfe\0\0": "UTF-32LE",
    b"\0\0\xfe\xff": "UTF-32BE",
    b"\xff\xfe": "UTF-16LE",
    b"\xfe\xff": "UTF-16BE",
}

# By the name that both Python and iconv know. Of encodings that give a text alike, the first is
# named; the last ones only where none of the others has a reading.
LATIN_ENCODINGS = [
    ("WINDOWS-1252", "western"),
    ("ISO-8859-15", "western"),
    ("WINDOWS-1250", "central"),
    ("ISO-8859-2", "central"),
    ("WINDOWS-1254", "turkish"),
    ("WINDOWS-1257", "baltic"),
]
OLD_LATIN_ENCODINGS = [("MACINTOSH", "western"), ("CP850", "western")]
SCRIPT_ENCODINGS = [
    ("GB18030", "Chinese"),
    ("BIG5", "Chinese"),
    ("BIG5-HKSCS", "Chinese"),
    ("SHIFT_JIS", "Japanese"),
    ("CP932", "Japanese"),
    ("EUC-JP", "Japanese"),
    ("EUC-KR", "Korean"),
    ("CP949", "Korean"),
    ("WINDOWS-1251", "Cyrillic"),
    ("KOI8-R", "Cyrillic"),
    ("KOI8-U", "Cyrillic"),
    ("ISO-8859-5", "Cyrillic"),
    ("CP866", "Cyrillic"),
    ("WINDOWS-1253", "Greek"),
    ("WINDOWS-1255", "Hebrew"),
    ("WINDOWS-1256", "Arabic"),
    ("TIS-620", "Thai"),
]
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1b\x7f]")
# also by a letter or two, or by none
_SURE = {"WINDOWS-1252", "ISO-8859-15", *(name for name, _ in SCRIPT_ENCODINGS)}
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = r"[^\W\d_]"
_NEW_LETTER = r"[^\W\d_\x00-\x7fªº]"  # beyond ASCII
_ODD_PLACES = [
    re.compile(pattern)
    for pattern in (
        rf"(?<={_LETTER})[^\w\s\x00-\x7f’‘·\xad–—](?={_LETTER})",
        rf"(?<={_LETTER})[°²³½¼¾](?={_LETTER})",  # a symbol within a word
        # a dash that leaves one letter
        rf"\b{_LETTER}[–—](?={_LETTER})|(?<={_LETTER})[–—]{_LETTER}\b",
        rf"{_LETTER}§|[£€¥¢]{_LETTER}",
        rf"\d{_NEW_LETTER}|{_NEW_LETTER}\d",
        r"[\^~\\|`_@{}][^\x00-\x7f]|[^\x00-\x7f][\^~\\|`_@{}]|[ªº][ªº]",
    )
]
# words of letters beyond ASCII, as other scripts have them
_FOREIGN = re.compile(r"[^\x00-\x7f]{4}|^[^\x00-\x7f]{2,}$")
_SYMBOLS = frozenset("“”„‘’‚–—…«»‹›€£¥§°©®™·•¡¿ºª´`\u00a0\u00ad×÷±½¼¾²³µ¢")
_QUOTES = frozenset("“”‘’–—…£€©®™•°\u00a0«»½")  # symbols that English text has, too
# and other symbols of East Asia: ranges, as in Script
_FULL_WIDTH = "\u3000\u303f\uff01\uffee\u2010\u2040\u2160\u24ff\u25a0\u266f"


Reading = tuple[str, str]  # the name of an encoding, and the text read so


class Guess(NamedTuple):
    """What the bytes of a file look like.

    Attributes:
        encoding: its name, for Python and iconv alike; None where it cannot be told.
        utf8_line: the first line that is UTF-8 beyond doubt, from 1, where others are not; 0 where
            there is none.
    """

    encoding: str | None
    utf8_line: int = 0


def guess(blocks: Callable[[], Iterable[bytes]]) -> Guess:
    """Judges the whole of a file.

    Args:
        blocks: reads its content from the beginning; called more than once.
    """
    start = b"".join(itertools.islice(blocks(), 1))
    for mark, name in MARKS.items():
        if start.startswith(mark):
            return Guess(name)
    wide = []
    for name in ("UTF-16LE", "UTF-16BE"):
        if _is_utf16(start, name) and _decodes(blocks(), name):
            wide.append(name)
    if len(wide) == 1:
        return Guess(wide[0])
    utf8_line, sample = _survey(blocks())
    if utf8_line:
        return Guess(None, utf8_line)
    encoding = reading_of(sample)
    if encoding is None or not _decodes(blocks(), encoding):
        return Guess(None)
    return Guess(encoding)


def reading_of(sample: bytes) -> str | None:
    """The encoding in which bytes read as some language does, if all that do give the same text."""
    readings = _script_readings(sample) + _latin_readings(sample)
    if len({text for _, text in readings}) != 1:
        return None
    name, text = readings[0]
    is_sure = name in _SURE or len(_letters(text)) >= DISTINCT
    return name if is_sure else None


def _script_readings(sample: bytes) -> list[Reading]:
    """The one that is beyond doubt, and what comes near it."""
    weighed: list[tuple[float, Reading]] = []
    best = 0.0
    for name, script, text in _texts(sample, SCRIPT_ENCODINGS):
        evidence = _evidence(text, SCRIPTS[script])
        best = max(best, evidence)
        weighed.append((evidence, (name, text)))
    if best < EVIDENCE:
        return []
    least = max(0.0, best - MARGIN)
    return [reading for evidence, reading in weighed if evidence > least]


def _latin_readings(sample: bytes) -> list[Reading]:
    """The letters of one language speak louder than those of all Western Europe."""
    of_one_language: list[Reading] = []
    mixed: list[Reading] = []
    plausible: list[str] = []  # texts of Western Europe
    for name, group, text in _texts(sample, LATIN_ENCODINGS):
        is_western = group == "western"
        if not _has_words(text, by_symbols=is_western):
            continue
        is_of_one = _is_latin(text, LATIN[group])
        is_mixed = is_western and _is_latin(text, [WESTERN])
        if is_of_one:
            of_one_language.append((name, text))
        if is_mixed:
            mixed.append((name, text))
        if is_western and (is_of_one or is_mixed):
            plausible.append(text)
    readings = of_one_language or mixed
    # á is ß in CP850, and alone shows nothing
    if not plausible or _letters(plausible[0]) == {"á"}:
        readings += _old_latin_readings(sample)
    return readings


def _old_latin_readings(sample: bytes) -> list[Reading]:
    readings = []
    for name, group, text in _texts(sample, OLD_LATIN_ENCODINGS):
        if _is_latin(text, LATIN[group]):
            readings.append((name, text))
    return readings


def _texts(sample: bytes, encodings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Each encoding in which bytes are a text: its name, its group of languages, and the text."""
    for name, group in encodings:
        text = _decoded(sample, name)
        if text is not None:
            yield name, group, text


def _has_words(text: str, *, by_symbols: bool) -> bool:
    """Whether a letter beyond ASCII stands beside another letter.

    Args:
        text: read in some encoding.
        by_symbols: also where no letter is beyond ASCII, and nothing else but quotes and the like.
    """
    words = _new_words(text)
    if words or not by_symbols:
        return any(len(word) > 1 for word in words)
    has_ascii_words = _WORD.search(text) is not None
    return has_ascii_words and _QUOTES.issuperset(_beyond(text))


def _new_words(text: str) -> list[str]:
    """The words with a letter beyond ASCII."""
    return [word for word in _WORD.findall(text) if not word.isascii()]


def _letters(text: str) -> set[str]:
    """Those beyond ASCII, in lower case."""
    return {ch.lower() for ch in _beyond(text) if ch.isalpha()}


def first_utf8_line(blocks: Iterable[bytes]) -> int:
    """The first line that is UTF-8 beyond doubt, though not ASCII; 0 where there is none."""
    return _survey(blocks)[0]


def is_interleaved(content: bytes) -> bool:
    """Whether every other byte is NUL, as where UTF-16 holds ASCII.

    Such bytes are also UTF-8, of a text that nobody means.
    """
    at_even = content[0::2].count(0)
    at_odd = content[1::2].count(0)
    fewer, more = sorted((at_even, at_odd))
    half = len(content) / 2
    if half < 8:
        return False
    return more > 0.7 * half and fewer < 0.1 * half


def lines_of(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""The bytes between two \n."""
    rest = b""
    for block in blocks:
        begun = rest if len(rest) < SAMPLE_BYTES else b""  # of a very long line the end will do
        *lines, rest = (begun + block).split(b"\n")
        yield from lines
    yield rest


def _survey(blocks: Iterable[bytes]) -> tuple[int, bytes]:
    """The first line that is UTF-8 beyond doubt, and the beginning of those that are not ASCII."""
    sample = []
    size = 0
    utf8_line = 0
    for number, line in enumerate(lines_of(blocks), 1):
        if number == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if _CONTROLS.search(line):
            return 0, b""  # no text
        if line.isascii():
            continue
        if not utf8_line and _is_surely_utf8(line):
            utf8_line = number
        if size < SAMPLE_BYTES:
            sample.append(line[:SAMPLE_BYTES])
            size += len(line)
        elif utf8_line:
            break
    return utf8_line, b"\n".join(sample)


def _is_surely_utf8(line: bytes) -> bool:
    """Whether a line is UTF-8, and not by chance.

    Two bytes of another encoding may be; several characters of three, or one within a Latin word,
    are not.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    if sum(ch >= "\u0800" for ch in text) >= 2:
        return True
    return re.search(r"[a-zA-Z][À-ɏ]|[À-ɏ][a-zA-Z]", text) is not None


def _is_utf16(start: bytes, encoding: str) -> bool:
    """Whether the beginning of a file, in whole characters, is text in one of the two orders."""
    if b"\0" not in start:
        return False
    whole = len(start) // 2 * 2
    try:
        text = start[:whole].decode(encoding)
    except UnicodeDecodeError:
        return False
    low_bytes = start[0::2] if encoding == "UTF-16LE" else start[1::2]
    is_ascii = is_interleaved(start) and 0 not in low_bytes
    has_spaces = "\n" in text or " " in text
    return (has_spaces or is_ascii) and _is_written(text)


def _is_written(text: str) -> bool:
    """Whether a text has no controls but tabs and ends of lines, and nothing without a meaning."""
    characters = set(text).difference("\t\r\n")
    categories = set(map(unicodedata.category, characters))
    return categories.isdisjoint(("Cc", "Cn", "Co", "Cs"))


def _decoded(content: bytes, encoding: str) -> str | None:
    """None where it has other bytes, or control characters."""
    decoder = codecs.getincrementaldecoder(encoding)()  # the sample may end inside a character
    try:
        text = decoder.decode(content)
    except UnicodeDecodeError:
        return None
    return text if _is_written(text) else None


def _decodes(blocks: Iterable[bytes], encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for block in blocks:
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _evidence(text: str, script: Script) -> float:
    """By how much more likely, as a logarithm, a text is one of the script than other bytes.

    Minus infinity where it cannot be one.
    """
    beyond = _beyond(text)
    letters = [ch for ch in beyond if _within(ch, script.letters)]
    distinct = set(letters)
    if len(distinct) < script.distinct:
        return -math.inf
    odd = [ch for ch in beyond if ch not in distinct and not _is_symbol(ch)]
    if len(odd) > ODD_SHARE * len(beyond):
        return -math.inf
    has_capitals = script.letters[0] <= "\u0590"
    if has_capitals and not _words_are_whole(text):
        return -math.inf
    frequent = sum(map(script.frequent.__contains__, letters))
    rare = len(letters) - frequent
    of_frequent = math.log(script.share / script.by_chance)
    of_rare = math.log((1 - script.share) / (1 - script.by_chance))
    return frequent * of_frequent + rare * of_rare


def _words_are_whole(text: str) -> bool:
    """Of scripts with capitals: words are of one script, and their capitals come first."""
    words = _new_words(text)
    odd = [word for word in words if re.search("[a-zA-Z]", word) or _has_odd_capitals(word)]
    if len(odd) > 0.05 * len(words):
        return False
    letters = "".join(words)
    lower = sum(map(str.islower, letters))
    return 2 * lower >= len(letters)


def _is_latin(text: str, alphabets: Iterable[str]) -> bool:
    """Whether the letters beyond ASCII are of one of the alphabets, in words as languages have."""
    beyond = _beyond(text)
    if _odd_characters(text, beyond) > ODD_SHARE * len(beyond):
        return False
    letters = [ch for ch in beyond if ch.isalpha() and ch not in "ªº"]
    for alphabet in alphabets:
        known = [ch for ch in letters if ch in alphabet or ch.lower() in alphabet]
        if len(known) >= COVERED * len(letters):
            return True
    return False


def _odd_characters(text: str, beyond: list[str]) -> int:
    """How many characters stand where languages have none.

    Args:
        text: read in some encoding.
        beyond: its characters beyond ASCII.
    """
    odd = 0
    for ch in beyond:
        if not ch.isalpha() and ch not in _SYMBOLS:
            odd += 1
    for pattern in _ODD_PLACES:
        odd += len(pattern.findall(text))
    if "„" in text and "“" not in text and "”" not in text:  # opened, and never closed
        odd += 1
    for word in _new_words(text):
        if _has_odd_capitals(word) or _FOREIGN.search(word):
            odd += len(word)
    return odd


def _beyond(text: str) -> list[str]:
    """The characters beyond ASCII."""
    return [ch for ch in text if ch > "\x7f"]


def _is_symbol(ch: str) -> bool:
    return ch in _SYMBOLS or _within(ch, _FULL_WIDTH)


def _has_odd_capitals(word: str) -> bool:
    """Whether a capital beyond ASCII, or one beside such a letter, stands where words have none."""
    for before, ch in itertools.pairwise(word):
        is_odd = before.islower() and ch.isupper()
        if is_odd and not (before + ch).isascii():
            return True
    first_two = word[:2]
    begins_with_two = first_two.isupper() and word[2:3].islower()
    return begins_with_two and not first_two.isascii()


def _within(ch: str, ranges: str) -> bool:
    """Whether a character is in one of the ranges; see `Script`."""
    firsts = ranges[0::2]
    lasts = ranges[1::2]
    return any(first <= ch <= last for first, last in zip(firsts, lasts, strict=True))
