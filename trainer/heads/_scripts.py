"""What tells scripts apart."""

EAST_ASIAN = 0x2E80  # from this character on scripts do not part words by spaces, or each character is a word to the tokenizer
