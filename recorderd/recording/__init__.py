"""What is recorded when: activation, event filters, schedules, and access units into the ring."""
