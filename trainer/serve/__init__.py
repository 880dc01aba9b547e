"""What answers raw texts once a model is trained: the SavedModel and its proof,
and the files of predict.
"""
