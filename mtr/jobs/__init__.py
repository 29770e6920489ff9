"""Jobs: commands on a server that go on when their client has gone."""
