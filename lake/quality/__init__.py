"""What is wrong with data that came: rules of the contracts, of markets and of a model."""
