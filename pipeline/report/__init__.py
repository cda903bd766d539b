"""The report: facts of a model or a release, each recomputable, as one HTML page and as a model card."""
