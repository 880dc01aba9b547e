"""What is due after some steps, one file each: log lines, evaluations, checkpoints.

A hook is a `Hook` (hook.py) and stands in the list of `trainer/run/training.py`; the loop calls
those that are due, in that order. When to step and when to end is the loop's.
"""
