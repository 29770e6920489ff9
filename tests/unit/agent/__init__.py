"""Tests of mtr/agent."""
