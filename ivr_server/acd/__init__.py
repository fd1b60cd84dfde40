"""Automatic call distribution as pure decisions: who waits, who is free, who gets whom."""
