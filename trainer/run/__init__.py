"""A run: the model and its steps, the loop and its hooks, evaluation, checkpoints, the job_dir.

start_training.py joins the parts, loop.py makes the steps, hooks/ has what is due after them,
steps.py the compiled step, optimization.py its update. distribution.py says where a run goes on,
workers.py what its processes agree on. job.py keeps the job_dir, checkpoints.py what a restart
needs.

What a mode tells is in modes/, how a model is served in serve/, what a plan says in planning/.
"""
