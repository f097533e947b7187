"""PoE policy: budget, priorities and the camera rescue. Drives `hw.poe`."""
