"""The rings' fixtures are in `rings.py`, and every test may ask for them: see tests/conftest.py."""

from tests.system.rings import NewRing

__all__ = ["NewRing"]
