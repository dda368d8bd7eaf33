"""Value to bytes and back. One family a file; `registry` knows which codec takes which value."""
