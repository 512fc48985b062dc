using System.Net;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>The body of a call with one request.</summary>
internal sealed class SingleRequestContent(IMessage message, bool gzip) : HttpContent
{
    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        using PooledBuffer frame = new(GrpcFrame.PrefixBytes + message.CalculateSize(), int.MaxValue);
        GrpcFrame.Write(frame, message, gzip);
        await stream.WriteAsync(frame.WrittenMemory, cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}

/// <summary>
/// The body of a call with a stream of requests: lends the HTTP/2 stream to the caller until <see cref="Complete"/>.
/// One writer at a time.
/// </summary>
internal sealed class StreamingRequestContent(bool gzip) : HttpContent
{
    private readonly TaskCompletionSource<Stream> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Sends a message; false if the call has ended, so that reading tells the status.</summary>
    internal async ValueTask<bool> WriteAsync(IMessage message, CancellationToken cancellationToken)
    {
        try
        {
            Stream stream = await _opened.Task.WaitAsync(cancellationToken);
            if (_completed.Task.IsCompleted)
                return false;
            using PooledBuffer frame = new(GrpcFrame.PrefixBytes + message.CalculateSize(), int.MaxValue);
            GrpcFrame.Write(frame, message, gzip);
            await stream.WriteAsync(frame.WrittenMemory, cancellationToken);
            await stream.FlushAsync(cancellationToken);
            return true;
        }
        catch (Exception e) when (e is IOException or HttpRequestException or ObjectDisposedException
            or OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Ends the stream of requests.</summary>
    internal void Complete() => _completed.TrySetResult();

    /// <summary>
    /// Breaks it off because the call ended, perhaps before the body was ever asked for. Unless it was complete already
    /// the body fails, so the stream is reset: the server must never take half of the requests for all of them.
    /// </summary>
    internal void Abandon()
    {
        _opened.TrySetCanceled();
        _completed.TrySetCanceled();
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(
        Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        // Otherwise the request headers wait for the first message.
        await stream.FlushAsync(cancellationToken);
        _opened.TrySetResult(stream);
        await _completed.Task.WaitAsync(cancellationToken);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}
