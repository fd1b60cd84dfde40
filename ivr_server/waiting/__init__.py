"""The waiting room: callers who wait, phones that ring, what is said meanwhile."""
