"""Sends runs and models to Vertex AI: `python -m trainer.vertex`.

Here are its options, the checks before a submission, the requests, and the client of the API. What
a job does once it runs there is the same as on any machine: trainer/task.py.
"""
