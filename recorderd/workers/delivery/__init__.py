"""How a file reaches a storage destination: a folder, an HTTP server, an S3 bucket."""
