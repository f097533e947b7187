"""Hardware: PSE drivers, boards as data, and simulators. Imports nothing of `recorderd`."""
