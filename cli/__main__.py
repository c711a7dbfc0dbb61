"""`python -m snowbus.cli`: the command, for whoever starts it with an interpreter of their choice."""

from .main import main

if __name__ == "__main__":
    main()
