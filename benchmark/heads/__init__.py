"""Probes: what turns a frozen embedding into predictions (knn, linear, mlp) or into a posterior (flow)."""
