"""Telephony application server attached to Asterisk's REST Interface."""

__version__ = "0.1.0"
