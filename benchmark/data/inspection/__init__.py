"""A survey looked at before anything is scored on it: checks, findings, descriptions, pictures."""
