using System.Runtime.CompilerServices;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>The requests of a streaming call, on the server. One reader at a time; valid while the handler runs.</summary>
/// <typeparam name="T">The request message.</typeparam>
public sealed class GrpcRequestStream<T> where T : class, IMessage<T>
{
    private readonly GrpcMessageReader<T> _reader;
    private readonly GrpcCallContext _call;

    internal GrpcRequestStream(GrpcCallContext call, MessageParser<T> parser)
    {
        _call = call;
        _reader = new GrpcMessageReader<T>(
            call.HttpContext.Request.BodyReader, parser, call.MaxReceiveBytes, call.GzipRequest);
    }

    /// <summary>The next request; null once the caller has sent its last. What has arrived already costs no wait.</summary>
    /// <exception cref="GrpcException">The stream is malformed or a message too large; let it pass.</exception>
    /// <exception cref="OperationCanceledException">The caller is gone or the deadline passed.</exception>
    public ValueTask<T?> ReadAsync()
    {
        ValueTask<T?> read = _reader.ReadAsync(_call.ReadToken);
        return read.IsCompletedSuccessfully ? read : AwaitAsync(read);
    }

    /// <summary>All requests that are still to come, for <c>await foreach</c>.</summary>
    public async IAsyncEnumerable<T> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (await ReadAsync() is { } request)
        {
            cancellationToken.ThrowIfCancellationRequested();
            yield return request;
        }
    }

    internal void Release() => _reader.Release();

    private static async ValueTask<T?> AwaitAsync(ValueTask<T?> read)
    {
        try
        {
            return await read;
        }
        catch (IOException e) when (GrpcHandler.IsCallerGone(e))
        {
            throw new OperationCanceledException(GrpcHandler.CallerGone, e);
        }
    }
}
