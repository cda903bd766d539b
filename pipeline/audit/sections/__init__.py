"""The parts of the page, in the order of its questions: each turns facts and evidence into HTML."""
