"""Files: which names stand for what, reading and writing them whole, here and in Cloud Storage.

What a file means is not known here: formats of data are in `trainer/sources/`, what a run writes is
in `trainer/run/`.
"""
