"""Hugging Face's names of the families, as its classes begin: BertForTokenClassification, …"""

FAMILIES = {"bert": "Bert", "distilbert": "DistilBert", "electra": "Electra"}
