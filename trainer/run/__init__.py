"""A run: the model and its steps, the loop, evaluation, checkpoints,
and the job_dir that holds them.
"""
