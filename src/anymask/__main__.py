"""`python -m anymask`: the command line, where its script is not on the path."""

from anymask.cli.app import main

if __name__ == "__main__":
    main()
