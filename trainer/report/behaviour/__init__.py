"""Behavioural tests: what a person who knows the task expects of the model, as YAML.

`suite` reads and checks them, `ask` asks the model. They can gate the export.

Source: Ribeiro et al. 2020, "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList".
"""
