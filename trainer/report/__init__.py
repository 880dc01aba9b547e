"""The evidence report: how good a run is, where it fails, and what was trained on what.

It is made of what the run has left in its job_dir, above all predictions.jsonl: neither the model
nor TensorFlow is needed. `make` reads that (`evidence`), lets the parts of the report look at it
(`parts`, `tasks`), and writes report.html and report.json, which hold the same facts.
"""
