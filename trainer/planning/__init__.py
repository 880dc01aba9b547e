"""What a run will cost, told before it starts: steps, shapes, memory, and whether they compile.

Here are the facts of plan.json and how they are shown. The limits that they are held against are in
trainer/run/limits.py, and the story of --mode=plan is in trainer/modes/plan.py.
"""
