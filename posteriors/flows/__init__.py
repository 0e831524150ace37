"""Flow ensembles: configuration, members, training one by one or stacked, files, and what is drawn from them."""
