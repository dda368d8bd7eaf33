"""Arguments and code to a key: when two calls are the same call. No clock, no I/O but source text."""
