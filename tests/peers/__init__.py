"""Real programs as peers and judges of the tests."""
