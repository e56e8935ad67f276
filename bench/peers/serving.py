"""What the bare gRPC servers have in common: they answer to some of the service's own methods."""

import grpc


async def started(**handlers: "grpc.RpcMethodHandler[bytes, bytes]") -> grpc.aio.Server:
    """Serve methods by name at a free port, which is printed; return the server."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("camapi.v1.CameraService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    return server
