"""What our processes ask of the cluster that they run in."""
