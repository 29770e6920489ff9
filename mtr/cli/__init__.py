"""The command line: click commands that render what the layers below return. No logic of its own."""
