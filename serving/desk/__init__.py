"""Orders of one account: risk, the ledger, a broker, and what is read back."""
