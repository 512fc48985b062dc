using System.Buffers;
using System.IO.Compression;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>gzip of single messages, bounded in both directions. Stateless.</summary>
internal static class GrpcGzip
{
    /// <summary>The name in <c>grpc-encoding</c>.</summary>
    internal const string Name = "gzip";

    /// <summary>What this layer can read, for <c>grpc-accept-encoding</c>.</summary>
    internal const string Accepted = "identity,gzip";

    /// <summary>Whether a <c>grpc-accept-encoding</c> value names gzip.</summary>
    internal static bool IsAcceptedBy(string? acceptEncoding)
    {
        ReadOnlySpan<char> list = acceptEncoding;
        foreach (Range part in list.Split(','))
        {
            if (list[part].Trim().Equals(Name, StringComparison.OrdinalIgnoreCase))
                return true;
        }
        return false;
    }

    /// <summary>Inflates a message; stops at the limit, however far the bytes would go on.</summary>
    /// <exception cref="GrpcException">RESOURCE_EXHAUSTED: larger than the limit; INTERNAL: not gzip.</exception>
    internal static PooledBuffer Inflate(in ReadOnlySequence<byte> payload, int maxBytes)
    {
        if (payload.IsEmpty)
            throw new GrpcException(GrpcStatusCode.Internal, "a compressed message is not valid gzip");
        int guess = (int)Math.Min(payload.Length * 4, maxBytes);
        PooledBuffer inflated = new(guess, maxBytes);
        byte[] block = ArrayPool<byte>.Shared.Rent(16 * 1024);
        try
        {
            using GZipStream gzip = new(new SequenceStream(payload), CompressionMode.Decompress);
            int read;
            while (!inflated.IsFull && (read = gzip.Read(block)) > 0)
                inflated.Write(block.AsSpan(0, read));
            if (!inflated.IsFull)
                return inflated;
        }
        catch (InvalidDataException e)
        {
            inflated.Dispose();
            throw new GrpcException(new GrpcStatus(GrpcStatusCode.Internal, "a compressed message is not valid gzip"), null, e);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
        inflated.Dispose();
        throw new GrpcException(
            GrpcStatusCode.ResourceExhausted, $"a compressed message inflates beyond the limit of {maxBytes} bytes");
    }

    /// <summary>Writes a compressed frame; false, with nothing written, if compression would not make it smaller.</summary>
    internal static bool TryWriteFrame(IBufferWriter<byte> output, IMessage message, int length, out int frameBytes)
    {
        frameBytes = 0;
        using PooledBuffer raw = new(length, length);
        message.WriteTo(raw.GetSpan(length)[..length]);
        raw.Advance(length);
        using PooledBuffer packed = new(length, length - 1);
        using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(raw.WrittenMemory.Span);
        if (packed.IsFull)
            return false;
        GrpcFrame.WritePrefix(output.GetSpan(GrpcFrame.PrefixBytes), 1, packed.WrittenMemory.Length);
        output.Advance(GrpcFrame.PrefixBytes);
        output.Write(packed.WrittenMemory.Span);
        frameBytes = GrpcFrame.PrefixBytes + packed.WrittenMemory.Length;
        return true;
    }

    /// <summary>Reads a sequence as a stream; used by one thread.</summary>
    private sealed class SequenceStream(ReadOnlySequence<byte> rest) : Stream
    {
        private ReadOnlySequence<byte> _rest = rest;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override int Read(Span<byte> buffer)
        {
            int count = (int)Math.Min(buffer.Length, _rest.Length);
            _rest.Slice(0, count).CopyTo(buffer);
            _rest = _rest.Slice(count);
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
