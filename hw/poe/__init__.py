"""Drivers of PSE controllers behind one `PoeController` protocol."""
