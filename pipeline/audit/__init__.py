"""The audit: what the collections hold, what leaks, and the evidence, as tables, JSON and one HTML page."""
