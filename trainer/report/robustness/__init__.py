"""Whether answers stay when a text changes in ways that leave its meaning.

It needs the model. What is found is kept in robustness.json, so that the report can be made again
without it.
"""
