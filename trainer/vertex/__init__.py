"""Submitting to Vertex AI: `python -m trainer.vertex`."""
