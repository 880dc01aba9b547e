"""The parts of a report that every kind of answers has, one file each."""
