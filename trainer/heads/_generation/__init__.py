"""Texts that go on from prompts: one loop over tokens, and what chooses them."""
