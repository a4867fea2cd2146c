"""Bars and features as they come: the code of the batch, applied to what is new."""
