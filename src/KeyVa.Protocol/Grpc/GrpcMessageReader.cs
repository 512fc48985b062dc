using System.Buffers;
using System.IO.Pipelines;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// Reads the messages of one direction of a call, on either side. One reader at a time.
/// 1. <c>_buffer</c> is what of the last read is not consumed; while <c>_held</c>, the pipe has not been advanced.
/// 2. Messages that are in the buffer already are returned without touching the pipe, so synchronously.
/// </summary>
internal sealed class GrpcMessageReader<T>(PipeReader input, MessageParser<T> parser, int maxBytes, bool gzip)
    where T : class, IMessage<T>
{
    private ReadOnlySequence<byte> _buffer;
    private bool _held;
    private bool _completed;

    /// <summary>The next message, or null at the end of the stream.</summary>
    /// <exception cref="GrpcException">The stream is malformed, a message is too large, or the end cuts one off.</exception>
    internal ValueTask<T?> ReadAsync(CancellationToken cancellationToken)
    {
        if (_held && GrpcFrame.TryRead(ref _buffer, parser, maxBytes, gzip, out T? message))
            return new ValueTask<T?>(message);
        return ReadMoreAsync(cancellationToken);
    }

    /// <summary>Gives the buffer back to the pipe, consumed; nothing can be read afterwards.</summary>
    internal void Release()
    {
        if (!_held)
            return;
        _held = false;
        _completed = true;
        input.AdvanceTo(_buffer.End);
        _buffer = default;
    }

    private async ValueTask<T?> ReadMoreAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            if (_completed)
                return End();
            if (_held)
            {
                _held = false;
                input.AdvanceTo(_buffer.Start, _buffer.End);
            }
            ReadResult read = await input.ReadAsync(cancellationToken);
            _buffer = read.Buffer;
            _held = true;
            _completed = read.IsCompleted;
            if (GrpcFrame.TryRead(ref _buffer, parser, maxBytes, gzip, out T? message))
                return message;
            if (read.IsCanceled)
                throw new OperationCanceledException(cancellationToken);
        }
    }

    private T? End()
    {
        if (_buffer.IsEmpty)
            return null;
        throw new GrpcException(GrpcStatusCode.Internal, $"the stream ends inside a message, {_buffer.Length} bytes into its frame");
    }
}
