"""What a job costs, and the ledger that says so. Never sees a provider."""
