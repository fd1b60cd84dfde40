"""Fakes that ship with the service, for its own tests and for those of flow authors."""
