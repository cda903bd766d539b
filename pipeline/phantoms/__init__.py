"""Stand-ins for the collections: procedural heads, their layouts and quirks, and the key of what was planted."""

from pipeline.phantoms.generation import generate
from pipeline.phantoms.key import Key, Planted, read_key

__all__ = ["Key", "Planted", "generate", "read_key"]
