"""The contract on top of the domain, without a transport: look up, call, convert."""
