"""The demo: a pipeline as a user would write it, and the program that runs it again and again."""
