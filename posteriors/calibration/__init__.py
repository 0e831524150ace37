"""Whether posteriors tell the truth: coverage, PIT, regions, two-sample tests; intervals that mend what is found."""
