"""Entry points of the child processes: whatever needs a decoder, an unusual transport or a risky parser."""
