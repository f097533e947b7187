"""Simulated hardware: PSE controllers at register and frame level, and cameras that speak real RTSP."""
