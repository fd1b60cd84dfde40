"""For all tests: hypothesis looks further on every run here, and at the same examples in CI."""

from __future__ import annotations

import os

from hypothesis import settings

# A check that fails by chance says nothing about the change it checks; what a run here finds
# becomes a test of its own.
settings.register_profile("ci", derandomize=True, print_blob=True)
settings.register_profile("long", max_examples=5000, deadline=None)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)
