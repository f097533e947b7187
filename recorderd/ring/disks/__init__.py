"""The machine's disks: what is there, preparing one for a ring, its health. Privileged steps go through `recorderd-helper`."""
