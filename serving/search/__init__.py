"""Search over what there is, by what it means."""
