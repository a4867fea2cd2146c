"""The simulated exchange: Massive's crypto socket on the loopback, seeded and with faults."""
