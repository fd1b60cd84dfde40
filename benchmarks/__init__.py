"""Benchmarks: figures are ratios against a peer in the same run, on the same Asterisk."""
