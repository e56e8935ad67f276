"""The contract over gRPC: grpc.aio, health, reflection."""
