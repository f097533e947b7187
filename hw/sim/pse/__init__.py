"""Simulated PSE controllers: what the chip does, written from its register sheet and never from the driver."""
