"""Encoders that learn no network: principal components, scanned redshifts, measurements by hand."""
