"""Where the helpers of other folders lie."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS / "pipeline" / "serving"), str(TESTS / "resources")]  # shades.py, language_server.py
