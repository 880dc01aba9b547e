"""What the heads that classify have in common: labels, decisions and scores, by head.kind."""
