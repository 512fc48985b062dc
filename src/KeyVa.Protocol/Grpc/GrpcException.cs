namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A call that ended with a status other than OK. The client half throws it; a handler may throw it where a returned
/// status cannot reach (deep below, off the hot path).
/// </summary>
public sealed class GrpcException : Exception
{
    /// <summary>An exception for a status without trailers.</summary>
    public GrpcException(GrpcStatus status) : this(status, null, null) { }

    /// <summary>An exception for a code and a message.</summary>
    public GrpcException(GrpcStatusCode code, string message) : this(new GrpcStatus(code, message)) { }

    /// <summary>An exception with the trailers that came (or shall go) with the status, and its cause.</summary>
    public GrpcException(GrpcStatus status, GrpcMetadata? trailers, Exception? inner = null)
        : base(status.ToString(), inner)
    {
        Status = status;
        Trailers = trailers ?? [];
    }

    /// <summary>The outcome of the call.</summary>
    public GrpcStatus Status { get; }

    /// <summary>The code of <see cref="Status"/>.</summary>
    public GrpcStatusCode Code => Status.Code;

    /// <summary>Metadata sent after the last message, without the status itself.</summary>
    public GrpcMetadata Trailers { get; }
}
