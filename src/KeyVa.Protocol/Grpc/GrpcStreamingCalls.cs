using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>The responses of a streaming call, on the client. One reader at a time.</summary>
/// <typeparam name="TResponse">The response message.</typeparam>
public class GrpcResponses<TResponse> : IAsyncEnumerable<TResponse>, IDisposable
    where TResponse : class, IMessage<TResponse>
{
    private readonly GrpcClientCall<TResponse> _call;

    internal GrpcResponses(GrpcClientCall<TResponse> call) => _call = call;

    /// <summary>Metadata sent after the last response; empty before.</summary>
    public GrpcMetadata Trailers => _call.Trailers;

    internal CancellationToken Token => _call.Token;

    /// <summary>Waits for the metadata sent ahead of the first response.</summary>
    public async ValueTask<GrpcMetadata> ReadHeadersAsync()
    {
        await _call.OpenAsync();
        return _call.Headers;
    }

    /// <summary>The next response; null when the stream has ended with status OK.</summary>
    /// <exception cref="GrpcException">The call ended with another status.</exception>
    /// <exception cref="OperationCanceledException">The caller's token was cancelled.</exception>
    public async ValueTask<TResponse?> ReadAsync()
    {
        if (await _call.ReadAsync() is { } message)
            return message;
        GrpcStatus status = _call.Status!.Value;
        return status.IsOk ? null : throw new GrpcException(status, _call.Trailers);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerator<TResponse> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        while (await ReadAsync() is { } message)
        {
            cancellationToken.ThrowIfCancellationRequested();
            yield return message;
        }
    }

    /// <summary>Ends the call, also on the server if it still runs there.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Ends the call.</summary>
    protected virtual void Dispose(bool disposing) => _call.Dispose();
}

/// <summary>A call with streams in both directions, on the client. One reader and one writer at a time.</summary>
/// <typeparam name="TRequest">The request message.</typeparam>
/// <typeparam name="TResponse">The response message.</typeparam>
public sealed class GrpcDuplexCall<TRequest, TResponse> : GrpcResponses<TResponse>
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    private readonly StreamingRequestContent _requests;

    internal GrpcDuplexCall(GrpcClientCall<TResponse> call, StreamingRequestContent requests) : base(call)
        => _requests = requests;

    /// <summary>Sends a request; false if the call has ended, and reading tells how.</summary>
    public ValueTask<bool> WriteAsync(TRequest request) => _requests.WriteAsync(request, Token);

    /// <summary>Says that no further request comes.</summary>
    public void CompleteRequests() => _requests.Complete();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        base.Dispose(disposing);
        _requests.Abandon();
    }
}

/// <summary>A call with a stream of requests and one response, on the client. One writer at a time.</summary>
/// <typeparam name="TRequest">The request message.</typeparam>
/// <typeparam name="TResponse">The response message.</typeparam>
public sealed class GrpcUpload<TRequest, TResponse> : IDisposable
    where TRequest : class, IMessage<TRequest>
    where TResponse : class, IMessage<TResponse>
{
    private readonly GrpcClientCall<TResponse> _call;
    private readonly StreamingRequestContent _requests;

    internal GrpcUpload(GrpcClientCall<TResponse> call, StreamingRequestContent requests)
    {
        _call = call;
        _requests = requests;
    }

    /// <summary>Sends a request; false if the call has ended, and <see cref="FinishAsync"/> tells how.</summary>
    public ValueTask<bool> WriteAsync(TRequest request) => _requests.WriteAsync(request, _call.Token);

    /// <summary>Ends the requests and waits for the outcome.</summary>
    public async ValueTask<GrpcReply<TResponse>> FinishAsync()
    {
        _requests.Complete();
        return await _call.ReadSingleAsync();
    }

    /// <summary>Ends the call, also on the server if it still runs there.</summary>
    public void Dispose()
    {
        _call.Dispose();
        _requests.Abandon();
    }
}
