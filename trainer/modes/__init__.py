"""The modes of the command, one file each: the story of what `--mode` names.

What a mode computes, writes and shows is in the wings below: run, serve, planning.
"""
