using System.IO.Pipelines;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// The responses of a streaming call, on the server. One writer at a time; valid while the handler runs. Writing waits
/// when the caller reads slowly (HTTP/2 flow control, and Kestrel's bounded output buffer).
/// </summary>
/// <typeparam name="T">The response message.</typeparam>
public sealed class GrpcResponseStream<T> where T : class, IMessage<T>
{
    /// <summary>How many bytes <see cref="BufferAsync"/> gathers before it sends them.</summary>
    public const int BufferBytes = 32 * 1024;

    private readonly GrpcCallContext _call;
    private readonly PipeWriter _output;
    private readonly CancellationToken _aborted;
    private long _buffered;

    internal GrpcResponseStream(GrpcCallContext call)
    {
        _call = call;
        _output = call.HttpContext.Response.BodyWriter;
        _aborted = call.CancellationToken;
    }

    /// <summary>Sends a message at once: for streams whose next message may be long in coming.</summary>
    /// <exception cref="OperationCanceledException">The caller is gone or the deadline passed.</exception>
    public ValueTask WriteAsync(T message)
    {
        _aborted.ThrowIfCancellationRequested();
        _call.Write(_output, message);
        return FlushAsync();
    }

    /// <summary>
    /// Sends a message together with those after it, when <see cref="BufferBytes"/> have gathered, on
    /// <see cref="FlushAsync"/>, or at the end of the call: for streams of many small messages.
    /// </summary>
    /// <exception cref="OperationCanceledException">The caller is gone or the deadline passed.</exception>
    public ValueTask BufferAsync(T message)
    {
        _aborted.ThrowIfCancellationRequested();
        _buffered += _call.Write(_output, message);
        return _buffered >= BufferBytes ? FlushAsync() : ValueTask.CompletedTask;
    }

    /// <summary>Sends the response headers now, ahead of a first message that may be long in coming.</summary>
    public Task StartAsync() => _call.HttpContext.Response.StartAsync(_aborted);

    /// <summary>Sends what <see cref="BufferAsync"/> gathered.</summary>
    /// <exception cref="OperationCanceledException">The caller is gone or the deadline passed.</exception>
    public ValueTask FlushAsync()
    {
        _buffered = 0;

        // Not with the deadline's token: Kestrel resets a stream whose flush is cancelled, and the caller would see INTERNAL
        // instead of the status that the deadline calls for. The next write throws.
        ValueTask<FlushResult> flush = _output.FlushAsync(_call.HttpContext.RequestAborted);
        if (!flush.IsCompletedSuccessfully)
            return AwaitAsync(flush);
        Check(flush.Result);
        return ValueTask.CompletedTask;
    }

    private async ValueTask AwaitAsync(ValueTask<FlushResult> flush)
    {
        // A caller that neither reads nor gives up after its deadline loses the stream after a while.
        using (_call.AbortAfterDeadline())
            Check(await flush);
    }

    private void Check(FlushResult flushed)
    {
        if (flushed.IsCompleted || flushed.IsCanceled)
            throw new OperationCanceledException(GrpcHandler.CallerGone, _aborted);
    }
}
