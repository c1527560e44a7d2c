"""`python -m pilotfish`."""

from pilotfish.cli.main import main

main()
