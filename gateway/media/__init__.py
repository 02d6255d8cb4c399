"""User media: station 6. References and uploads are fetched, checked and kept before a job is let in."""
