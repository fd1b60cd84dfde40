"""Voice menus written in YAML: reading, checking and walking them.

Pure: no asyncio, no clock, no sockets. What a flow asks of the world stands in `ports`.
"""
