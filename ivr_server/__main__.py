"""`python -m ivr_server` is `ivr-server`."""

from ivr_server.cli import main

main()
