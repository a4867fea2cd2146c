"""Where orders go: one interface, and a broker of paper behind it."""
