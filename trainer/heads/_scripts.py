"""Scripts that do not part words by spaces."""

# from this character on scripts do not part words by spaces, or each character is a word to the
# tokenizer
EAST_ASIAN = 0x2E80
# Scripts that do not part words by spaces, or not their names from what goes with them: Thai, Lao,
# Tibetan, Burmese; Hangul's letters; Khmer; Tai Le, New Tai Lue, Tai Tham; kana, Bopomofo,
# ideographs, Yi; the rest of Hangul and Burmese, Javanese; syllables.
UNSPACED = (
    (0x0E00, 0x10A0),
    (0x1100, 0x1200),
    (0x1780, 0x1800),
    (0x1950, 0x1AB0),
    (EAST_ASIAN, 0xA4D0),
    (0xA960, 0xAA00),
    (0xAA60, 0xAAE0),
    (0xAC00, 0xD800),
    (0xF900, 0xFB00),
    (0xFF65, 0xFFDD),
    (0x16FE0, 0x18D80),
    (0x1AFF0, 0x1B300),
    (0x20000, 0x34000),
)
