using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>
/// A message on the wire (gRPC over HTTP/2, "Length-Prefixed-Message"). Stateless.
/// <code>
///  0        1                                5                5 + length
///  +--------+--------------------------------+----------------+
///  |  flag  |  length (big-endian, 4 bytes)  |    message     |
///  +--------+--------------------------------+----------------+
///  flag 0: the message as it is; flag 1: compressed as grpc-encoding says.
/// </code>
/// The length is checked against the receiver's limit as soon as the prefix is there, before memory is taken for the
/// message; what a compressed message inflates to is held to the same limit.
/// </summary>
internal static class GrpcFrame
{
    internal const int PrefixBytes = 5;

    // Up to here a message is serialized into one span of the output; above, block by block.
    private const int OneSpanBytes = 4096;

    // Compressing less than this makes it longer.
    private const int MinGzipBytes = 256;

    /// <summary>
    /// Takes one message off the front of <paramref name="buffer"/>; false if it is not complete yet.
    /// </summary>
    /// <exception cref="GrpcException">The frame or the message is malformed or too large.</exception>
    internal static bool TryRead<T>(
        ref ReadOnlySequence<byte> buffer, MessageParser<T> parser, int maxBytes, bool gzip, out T? message)
        where T : class, IMessage<T>
    {
        message = null;
        if (buffer.Length < PrefixBytes)
            return false;
        Span<byte> prefix = stackalloc byte[PrefixBytes];
        if (buffer.FirstSpan.Length >= PrefixBytes)
            buffer.FirstSpan[..PrefixBytes].CopyTo(prefix);
        else
            buffer.Slice(0, PrefixBytes).CopyTo(prefix);
        uint length = BinaryPrimitives.ReadUInt32BigEndian(prefix[1..]);
        CheckPrefix(prefix[0], length, maxBytes, gzip);
        if (buffer.Length - PrefixBytes < length)
            return false;
        ReadOnlySequence<byte> payload = buffer.Slice(PrefixBytes, length);
        message = prefix[0] == 0 ? Parse(payload, parser) : ParseGzip(payload, parser, maxBytes);
        buffer = buffer.Slice(payload.End);
        return true;
    }

    /// <summary>Writes one message, compressed if asked for and worth it; returns the length of the frame.</summary>
    internal static int Write(IBufferWriter<byte> output, IMessage message, bool gzip)
    {
        int length = message.CalculateSize();
        if (gzip && length >= MinGzipBytes && GrpcGzip.TryWriteFrame(output, message, length, out int packed))
            return packed;
        if (length <= OneSpanBytes - PrefixBytes)
        {
            Span<byte> frame = output.GetSpan(PrefixBytes + length)[..(PrefixBytes + length)];
            WritePrefix(frame, 0, length);
            message.WriteTo(frame[PrefixBytes..]);
            output.Advance(frame.Length);
            return frame.Length;
        }
        WritePrefix(output.GetSpan(PrefixBytes), 0, length);
        output.Advance(PrefixBytes);
        message.WriteTo(new ProtobufOutput(output));
        return PrefixBytes + length;
    }

    /// <summary>Writes flag and length.</summary>
    internal static void WritePrefix(Span<byte> prefix, byte flag, int length)
    {
        Debug.Assert(length >= 0 && flag <= 1);
        prefix[0] = flag;
        BinaryPrimitives.WriteUInt32BigEndian(prefix[1..], (uint)length);
    }

    private static void CheckPrefix(byte flag, uint length, int maxBytes, bool gzip)
    {
        if (flag > 1)
            throw new GrpcException(GrpcStatusCode.Internal, $"a message frame starts with flag {flag}; only 0 and 1 are known");
        if (flag == 1 && !gzip)
            throw new GrpcException(GrpcStatusCode.Internal, "a message is flagged as compressed without grpc-encoding");
        if (length > (uint)maxBytes)
        {
            throw new GrpcException(
                GrpcStatusCode.ResourceExhausted, $"a message of {length} bytes is larger than the limit of {maxBytes} bytes");
        }
    }

    private static T Parse<T>(in ReadOnlySequence<byte> payload, MessageParser<T> parser) where T : class, IMessage<T> =>
        ProtobufInput.TryParse(payload, parser, out T? message, out string wrong)
            ? message
            : throw new GrpcException(GrpcStatusCode.Internal, $"malformed protobuf message: {wrong}");

    private static T ParseGzip<T>(in ReadOnlySequence<byte> payload, MessageParser<T> parser, int maxBytes)
        where T : class, IMessage<T>
    {
        using PooledBuffer inflated = GrpcGzip.Inflate(payload, maxBytes);
        return Parse(new ReadOnlySequence<byte>(inflated.WrittenMemory), parser);
    }
}
