"""What must hold before any order goes out, and the switch that stops them all."""
