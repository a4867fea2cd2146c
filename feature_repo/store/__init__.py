"""Feast on the lakehouse: values come from the lake, are served by the speed layer, and are ours."""
