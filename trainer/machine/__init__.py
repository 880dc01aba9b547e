"""The machine that the process runs on: its memory, its processor, its allocator."""
