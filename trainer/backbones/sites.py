"""Places in a model, by number: each seeds its own dropout masks and initial values."""

# The backbone counts from 0, so a head must begin far above it.
FIRST_HEAD_SITE = 1_000_000
