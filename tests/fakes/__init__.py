"""Machines that the tests run on: small working programs behind the real interface."""
