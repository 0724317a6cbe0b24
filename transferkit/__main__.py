"""`python -m transferkit`: the command line where its script is not on the path."""

from transferkit.cli import main

if __name__ == "__main__":
    main()
