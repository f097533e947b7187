"""Serves simulated cameras until it is interrupted: `python -m hw.sim.camera --h264-aac --h265-g711 --port 0`."""

from hw.sim.camera.command import main

raise SystemExit(main())
