"""Who calls: accounts, their API keys, and the principal that a credential stands for."""
