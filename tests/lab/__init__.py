"""Real parts for the tests: SSH servers with users and login shells, a relay, homes of imaginary people."""
