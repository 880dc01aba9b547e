"""What language models share: documents as rows, each token's loss once, perplexity."""
