using System.Buffers;
using System.IO.Pipelines;
using KeyVa.Server.Identity;
using Microsoft.AspNetCore.Http;
using PipeResult = System.IO.Pipelines.ReadResult;

namespace KeyVa.Server;

/// <summary>
/// The body of a request in one piece, never longer than its limit. Dispose it once nothing uses the bytes any more.
/// </summary>
/// <remarks>
/// A body that came with the headers is used where it lies, in Kestrel's buffer. Any other is gathered in pooled memory
/// that grows with what has really arrived, so a declared length alone costs nothing.
/// </remarks>
internal readonly struct RequestBody : IDisposable
{
    private const int FirstRentedBytes = 16 * 1024;

    private readonly PipeReader? _held;
    private readonly SequencePosition _end;
    private readonly byte[]? _rented;

    private RequestBody(ReadOnlyMemory<byte> memory, byte[] rented)
    {
        Memory = memory;
        _rented = rented;
    }

    private RequestBody(ReadOnlySequence<byte> held, PipeReader reader)
    {
        Memory = held.First;
        _held = reader;
        _end = held.End;
    }

    private RequestBody(bool tooLong) => IsTooLong = tooLong;

    /// <summary>A body that was not read.</summary>
    public static RequestBody TooLong => new(tooLong: true);

    /// <summary>Whether it exceeds the limit; nothing of it is kept then.</summary>
    public bool IsTooLong { get; }

    /// <summary>The bytes.</summary>
    public ReadOnlyMemory<byte> Memory { get; }

    /// <summary>Reads the body. Throws <see cref="RefusedException"/> if the user has changed since the head of the request was let through.</summary>
    public static async ValueTask<RequestBody> ReadAsync(HttpRequest request, long maxBytes, CancellationToken cancellation)
    {
        if (request.ContentLength > maxBytes)
        {
            return TooLong;
        }

        PipeReader reader = request.BodyReader;
        ValueTask<PipeResult> reading = reader.ReadAsync(cancellation);
        bool cameWithHead = reading.IsCompleted;
        PipeResult read = await reading;
        if (read.IsCompleted && read.Buffer.IsSingleSegment && read.Buffer.Length <= maxBytes && (cameWithHead || IsUnchanged(request)))
        {
            return new RequestBody(read.Buffer, reader);
        }

        RequestBody body = await GatherAsync(reader, read, maxBytes, cancellation);
        if (!IsUnchanged(request))
        {
            body.Dispose();
            throw new RefusedException(Status.Unauthenticated, "the user was changed or removed while the request came; send it again");
        }

        return body;
    }

    // Whoever has lost a right must not keep it by a request that was let through before, and takes its time.
    private static bool IsUnchanged(HttpRequest request) =>
        request.HttpContext.Features.Get<HttpConnection>() is not { } connection || connection.IsUnchanged(Caller.Of(request.HttpContext));

    public void Dispose()
    {
        _held?.AdvanceTo(_end);
        if (_rented is not null)
        {
            ArrayPool<byte>.Shared.Return(_rented);
        }
    }

    private static async ValueTask<RequestBody> GatherAsync(
        PipeReader reader, PipeResult read, long maxBytes, CancellationToken cancellation)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(FirstRentedBytes);
        int length = 0;
        bool done = false;
        try
        {
            while (true)
            {
                ReadOnlySequence<byte> buffer = read.Buffer;
                if (length + buffer.Length > maxBytes)
                {
                    reader.AdvanceTo(buffer.Start, buffer.End);
                    return TooLong;
                }

                bytes = Append(bytes, length, buffer);
                length += (int)buffer.Length;
                reader.AdvanceTo(buffer.End);
                if (read.IsCompleted)
                {
                    done = true;
                    return new RequestBody(bytes.AsMemory(0, length), bytes);
                }

                read = await reader.ReadAsync(cancellation);
            }
        }
        finally
        {
            if (!done)
            {
                ArrayPool<byte>.Shared.Return(bytes);
            }
        }
    }

    private static byte[] Append(byte[] bytes, int length, in ReadOnlySequence<byte> more)
    {
        long wanted = length + more.Length;
        if (wanted > bytes.Length)
        {
            byte[] grown = ArrayPool<byte>.Shared.Rent((int)Math.Min(Math.Max(wanted, 2L * bytes.Length), Array.MaxLength));
            bytes.AsSpan(0, length).CopyTo(grown);
            ArrayPool<byte>.Shared.Return(bytes);
            bytes = grown;
        }

        more.CopyTo(bytes.AsSpan(length));
        return bytes;
    }
}
