"""Ratios against peers in the same run: `python -m tests.bench` (see README.md)."""
