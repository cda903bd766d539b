"""The parts of the two pages, in the order in which a reader asks."""
