"""Work on other machines: the protocol, the worker there, the ledger and the client here."""
