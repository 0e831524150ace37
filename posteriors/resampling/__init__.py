"""The bootstrap over galaxies: weights, replicates of scores, intervals and paired tests."""
