"""What callers hear: the phrases of each language, and the files that say them.

Speech may use audio. It knows no calls: it turns utterances into media URIs and nothing else.
"""
