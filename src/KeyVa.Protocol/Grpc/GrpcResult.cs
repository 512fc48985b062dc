namespace KeyVa.Protocol.Grpc;

/// <summary>
/// What a handler that answers with one message returns: the message, or the status for which there is none. It is a
/// value, so a refused request costs no exception.
/// </summary>
/// <typeparam name="T">The response message.</typeparam>
public readonly struct GrpcResult<T> where T : class
{
    private GrpcResult(T? message, GrpcStatus status)
    {
        Message = message;
        Status = status;
    }

    /// <summary>The response; null unless <see cref="Status"/> is OK.</summary>
    public T? Message { get; }

    /// <summary>The outcome.</summary>
    public GrpcStatus Status { get; }

    /// <summary>A response with status OK.</summary>
    public static implicit operator GrpcResult<T>(T message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return new GrpcResult<T>(message, GrpcStatus.Ok);
    }

    /// <summary>A refusal. A status of OK needs a message, so it becomes <see cref="GrpcStatusCode.Internal"/>.</summary>
    public static implicit operator GrpcResult<T>(GrpcStatus status) => new(null, status.IsOk
        ? new GrpcStatus(GrpcStatusCode.Internal, "the handler answered OK without a message")
        : status);
}
