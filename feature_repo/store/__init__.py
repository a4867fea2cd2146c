"""Feast on the lakehouse: values come from the lake and are served by the speed layer."""
