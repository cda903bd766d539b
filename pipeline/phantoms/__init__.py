"""Stand-ins for the collections: procedural heads, layouts, quirks, and the key to them."""

from pipeline.phantoms.generation import generate
from pipeline.phantoms.key import Key, Planted, read_key

__all__ = ["Key", "Planted", "generate", "read_key"]
