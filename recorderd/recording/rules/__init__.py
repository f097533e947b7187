"""What may be configured: pure functions that check a request against a draft and put the result into it, or raise a fault."""
