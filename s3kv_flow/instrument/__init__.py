"""Events of the caches for monitoring systems, one file each. Their packages are extras."""
