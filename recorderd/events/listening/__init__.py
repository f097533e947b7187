"""Event streams of cameras beside their media: over WebSocket (Axis) and by pull points (ONVIF)."""
