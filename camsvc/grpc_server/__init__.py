"""The service's gRPC face: grpc.aio, health, reflection, interceptors."""
