using System.Buffers.Binary;
using KeyVa.Io;

namespace KeyVa.Cluster.Transport;

/// <summary>
/// The messages of the transport, docs/format.md (Between nodes). Everything is little-endian. Stateless.
/// <code>
/// every message   0 kind u8 · 1 version u8 · 2 zero u16 · 4 CRC32C u32 of bytes 0..3 and all from 8 · 8 payload
/// Hello           from u64 · to u64 · cluster 16 bytes · incarnation u64 · greeting u64 · lane u8 · zero 7 bytes
/// Welcome         greeting u64 · incarnation u64 of the one that answers
/// Refused         greeting u64 · refusal u16 · zero 6 bytes
/// Frame           the driver's bytes
/// Snapshot        see SnapshotMessage
/// </code>
/// </summary>
internal static class TransportMessage
{
    public const byte Version = 1;
    public const int HeaderBytes = 8;

    /// <summary>The longest message that answers another.</summary>
    public const int MaxAnswerBytes = HeaderBytes + 16;

    /// <summary>Fills in the header of a message whose payload is in its place.</summary>
    public static void Seal(Span<byte> message, MessageKind kind)
    {
        message[0] = (byte)kind;
        message[1] = Version;
        message[2] = 0;
        message[3] = 0;
        BinaryPrimitives.WriteUInt32LittleEndian(message[4..], Checksum(message));
    }

    /// <summary>Looks at a message's header and checksum. Whatever comes after was sent so, if not necessarily by somebody who means well.</summary>
    public static MessageFault Open(ReadOnlySpan<byte> message, out MessageKind kind)
    {
        kind = default;
        if (message.Length < HeaderBytes || message[0] is < (byte)MessageKind.Hello or > (byte)MessageKind.Snapshot)
        {
            return MessageFault.Malformed;
        }

        kind = (MessageKind)message[0];
        return message[1] != Version ? MessageFault.Version
            : message[2] != 0 || message[3] != 0 ? MessageFault.Malformed
            : BinaryPrimitives.ReadUInt32LittleEndian(message[4..]) != Checksum(message) ? MessageFault.Checksum
            : MessageFault.None;
    }

    private static uint Checksum(ReadOnlySpan<byte> message) => Crc32C.Extend(Crc32C.Compute(message[..4]), message[HeaderBytes..]);
}

/// <summary>See <see cref="TransportMessage"/>. A connection is for one <see cref="Lane"/>; the greeting tells the answers to one's own hellos apart.</summary>
internal readonly record struct Hello(ulong From, ulong To, Guid Cluster, ulong Incarnation, ulong Greeting, Lane Lane)
{
    public const int MessageBytes = TransportMessage.HeaderBytes + 56;

    public void Write(Span<byte> message)
    {
        Span<byte> payload = message[TransportMessage.HeaderBytes..MessageBytes];
        payload.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(payload, From);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[8..], To);
        _ = Cluster.TryWriteBytes(payload[16..], bigEndian: true, out _);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[32..], Incarnation);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[40..], Greeting);
        payload[48] = (byte)Lane;
        TransportMessage.Seal(message[..MessageBytes], MessageKind.Hello);
    }

    public static bool TryRead(ReadOnlySpan<byte> message, out Hello hello)
    {
        hello = default;
        if (message.Length != MessageBytes)
        {
            return false;
        }

        ReadOnlySpan<byte> payload = message[TransportMessage.HeaderBytes..];
        hello = new Hello(
            BinaryPrimitives.ReadUInt64LittleEndian(payload),
            BinaryPrimitives.ReadUInt64LittleEndian(payload[8..]),
            new Guid(payload.Slice(16, 16), bigEndian: true),
            BinaryPrimitives.ReadUInt64LittleEndian(payload[32..]),
            BinaryPrimitives.ReadUInt64LittleEndian(payload[40..]),
            (Lane)payload[48]);
        return hello.Lane <= Lane.Snapshots && !payload[49..].ContainsAnyExcept((byte)0);
    }
}

/// <summary>The answer to a hello: <see cref="MessageKind.Welcome"/> if there is no refusal.</summary>
internal readonly record struct HelloAnswer(ulong Greeting, Refusal Refusal, ulong Incarnation)
{
    public const int MessageBytes = TransportMessage.MaxAnswerBytes;

    /// <summary>In a refusal: whatever the other has said, it is not welcome (any more).</summary>
    public const ulong AnyGreeting = 0;

    public void Write(Span<byte> message)
    {
        Span<byte> payload = message[TransportMessage.HeaderBytes..MessageBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(payload, Greeting);
        BinaryPrimitives.WriteUInt64LittleEndian(payload[8..], Refusal == Refusal.None ? Incarnation : (ulong)Refusal);
        TransportMessage.Seal(message[..MessageBytes], Refusal == Refusal.None ? MessageKind.Welcome : MessageKind.Refused);
    }

    public static bool TryRead(ReadOnlySpan<byte> message, MessageKind kind, out HelloAnswer answer)
    {
        answer = default;
        if (message.Length != MessageBytes || kind is not (MessageKind.Welcome or MessageKind.Refused))
        {
            return false;
        }

        ulong greeting = BinaryPrimitives.ReadUInt64LittleEndian(message[TransportMessage.HeaderBytes..]);
        ulong second = BinaryPrimitives.ReadUInt64LittleEndian(message[(TransportMessage.HeaderBytes + 8)..]);
        if (kind == MessageKind.Refused && second is 0 or > (ulong)Refusal.KeyUnknown)
        {
            return false;
        }

        answer = kind == MessageKind.Welcome ? new HelloAnswer(greeting, Refusal.None, second) : new HelloAnswer(greeting, (Refusal)second, 0);
        return true;
    }
}

/// <summary>What a connection carries. Each has its own, so that files never stand before frames. The numbers are on the wire.</summary>
internal enum Lane : byte
{
    Frames = 0,
    Snapshots = 1,
}
