using System.Buffers.Binary;

namespace KeyVa.Sessions;

/// <summary>
/// What stands in front of a command's operations if it belongs to a session (docs/format.md, Commands; format 5 of the record):
/// <code>
///   head 135: a write of a session   client i64 | sequence i64 | operations
///   head 136: opens a session        client i64, and nothing behind it
/// </code>
/// </summary>
/// <param name="Client">The session; 0: none.</param>
/// <param name="Sequence">Counts the session's writes from 1; 0: it is opened.</param>
internal readonly record struct SessionHead(long Client, long Sequence)
{
    private const byte WriteHead = 135;
    private const byte OpenHead = 136;
    private const int OpenBytes = 9;
    private const int WriteBytes = 17;

    public bool IsSet => Client != 0;

    public int Length => !IsSet ? 0 : Sequence == 0 ? OpenBytes : WriteBytes;

    /// <summary>Writes it, if it is set; there is room for <see cref="Length"/>.</summary>
    public void WriteTo(Span<byte> to)
    {
        if (!IsSet)
        {
            return;
        }

        to[0] = Sequence == 0 ? OpenHead : WriteHead;
        BinaryPrimitives.WriteInt64LittleEndian(to[1..], Client);
        if (Sequence != 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to[9..], Sequence);
        }
    }

    /// <summary>Reads it and moves behind it; false if the command belongs to none.</summary>
    public static bool TryTake(ref ReadOnlySpan<byte> command, out SessionHead session)
    {
        session = default;
        int length = command.IsEmpty ? 0 : command[0] == WriteHead ? WriteBytes : command[0] == OpenHead ? OpenBytes : 0;
        if (length == 0 || command.Length < length || (length == OpenBytes && command.Length > length))
        {
            return false;
        }

        session = new SessionHead(BinaryPrimitives.ReadInt64LittleEndian(command[1..]), length == WriteBytes ? BinaryPrimitives.ReadInt64LittleEndian(command[9..]) : 0);
        if (!session.IsSet || (length == WriteBytes && session.Sequence <= 0))
        {
            session = default;
            return false;
        }

        command = command[length..];
        return true;
    }
}
