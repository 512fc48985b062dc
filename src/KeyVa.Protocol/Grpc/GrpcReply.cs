namespace KeyVa.Protocol.Grpc;

/// <summary>How a call that answers with one message ended.</summary>
/// <typeparam name="T">The response message.</typeparam>
/// <param name="Status">The outcome, also of the transport: a server that is not there is UNAVAILABLE.</param>
/// <param name="Message">The response; null unless the status is OK.</param>
/// <param name="Headers">Metadata sent before the message.</param>
/// <param name="Trailers">Metadata sent after it.</param>
public readonly record struct GrpcReply<T>(GrpcStatus Status, T? Message, GrpcMetadata Headers, GrpcMetadata Trailers)
    where T : class
{
    /// <summary>The response.</summary>
    /// <exception cref="GrpcException">The status is not OK.</exception>
    public T GetMessage() => Message ?? throw new GrpcException(Status, Trailers);
}
