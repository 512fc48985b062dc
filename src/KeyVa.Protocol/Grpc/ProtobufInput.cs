using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using Google.Protobuf;

namespace KeyVa.Protocol.Grpc;

/// <summary>Parses messages from bytes that nobody has looked at. Thread-safe.</summary>
public static class ProtobufInput
{
    /// <summary>False if the bytes are no message; <paramref name="wrong"/> says why, for a person.</summary>
    /// <remarks>
    /// Where a length inside a message goes beyond its bytes, and the end that it leads to no longer fits into an int, the parser of
    /// Google.Protobuf 3.25 reads past what it was given: the runtime's own check of bounds stops it, with an exception of its kind.
    /// </remarks>
    public static bool TryParse<T>(in ReadOnlySequence<byte> bytes, MessageParser<T> parser, [NotNullWhen(true)] out T? message, out string wrong)
        where T : class, IMessage<T>
    {
        try
        {
            message = bytes.IsSingleSegment ? parser.ParseFrom(bytes.FirstSpan) : parser.ParseFrom(bytes);
            wrong = "";
            return true;
        }
        catch (Exception e) when (e is InvalidProtocolBufferException or IndexOutOfRangeException)
        {
            message = null;
            wrong = e is InvalidProtocolBufferException ? e.Message : "a length inside the message goes beyond its end";
            return false;
        }
    }
}
