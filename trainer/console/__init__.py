"""What a person and the platform see of a run, and what they tell it."""
