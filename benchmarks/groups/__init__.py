"""The groups of benchmarks: each gives its rows."""
