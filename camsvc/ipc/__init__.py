"""What crosses between the service and a worker: messages, codec, shared memory."""
