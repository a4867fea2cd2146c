"""How it runs: servers started and stopped, the simulated exchange, and the command."""
