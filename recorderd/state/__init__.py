"""The API objects in one SQLite file on the system partition, and their migrations."""
