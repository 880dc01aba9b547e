"""What a run will cost, told before it starts: steps, shapes, memory,
and whether a TPU's compiler takes them.
"""
