"""Tests of the service, over a real server on a loopback port."""
