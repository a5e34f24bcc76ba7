"""What several test modules need: real servers on the loopback interface, and ways to break a connection."""
