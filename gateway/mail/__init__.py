"""Mail: letters as data, an outbox in the database, and what delivers it."""
