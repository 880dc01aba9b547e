"""What a person and the platform see of a run, and what they tell it.

Progress, results, logs and signals: what is computed, and what is written to files, is elsewhere.
"""
