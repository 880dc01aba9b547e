"""Why a classifier answers as it does: how much each token of a text adds to the answer.

It needs the model. What is found for a report is kept in explanations.json, so that the report can
be made again without it.
"""
