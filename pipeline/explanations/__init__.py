"""Where a network looked: heat maps, and how far they can be believed."""
