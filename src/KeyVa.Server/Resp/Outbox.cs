using System.Collections.Concurrent;
using KeyVa.Protocol.Resp;

namespace KeyVa.Server.Resp;

/// <summary>
/// Messages for one connection, from whoever publishes; the connection's own thread sends them between two replies. Bounded: one whose client does not
/// take its messages ends. Thread-safe.
/// </summary>
internal sealed class Outbox(Action wake)
{
    /// <summary>Bytes that wait at most (Redis: client-output-buffer-limit pubsub).</summary>
    private const long MaxBytes = 32 << 20;

    private readonly ConcurrentQueue<byte[]> _messages = new();
    private long _bytes;

    /// <summary>More came than is kept: the connection ends.</summary>
    public bool IsOverflown => Interlocked.Read(ref _bytes) > MaxBytes;

    public bool IsEmpty => _messages.IsEmpty;

    public void Add(byte[] message)
    {
        if (Interlocked.Add(ref _bytes, message.Length) <= MaxBytes)
        {
            _messages.Enqueue(message);
        }

        wake();
    }

    /// <summary>Moves what waits to the output, as much as may stand there.</summary>
    public void MoveTo(RespOutput output, int most)
    {
        while (output.Length < most && _messages.TryDequeue(out byte[]? message))
        {
            Interlocked.Add(ref _bytes, -message.Length);
            output.Raw(message);
        }
    }
}
