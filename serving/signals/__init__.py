"""What models say as minutes close: models in use, routing, scoring, outcomes."""
