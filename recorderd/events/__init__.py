"""The event broker: topics, properties, history, and the parsers of cameras' event documents."""
