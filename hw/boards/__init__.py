"""Boards as data: one TOML file per board, and the loader that checks them."""
