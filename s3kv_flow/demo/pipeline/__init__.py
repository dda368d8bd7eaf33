"""What `s3kv demo` copies into its folder and runs there: a user's scripts, not a part of the library."""
