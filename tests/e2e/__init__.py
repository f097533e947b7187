"""From camera to durable media and back, with everything in between real."""
