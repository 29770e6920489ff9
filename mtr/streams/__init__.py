"""Streams of bytes that one side writes and another reads in pieces."""
