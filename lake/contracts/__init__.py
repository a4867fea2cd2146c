"""Contracts: what each dataset holds, and the schemas derived from that."""
