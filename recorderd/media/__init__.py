"""Coded media: parameter sets, MP4 boxes, fragments and the re-mux. Bytes in, bytes out."""
