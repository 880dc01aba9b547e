"""What answers raw texts once a model is trained.

Here are the serving graph, the exports with their proof, and the questions and answers of predict.
Training and evaluation are in trainer/run, and sending a model to Vertex AI is in trainer/vertex.
"""
