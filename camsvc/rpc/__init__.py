"""The gRPC face: requests checked, the fleet called, answers and errors converted."""
