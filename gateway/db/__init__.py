"""The database: two calls (`write`, `read`), the tables of the gateway, their migrations."""
