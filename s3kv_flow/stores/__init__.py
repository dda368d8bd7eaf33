"""The verbs of an object store, over S3 and over memory. Nothing above this package talks to S3."""
