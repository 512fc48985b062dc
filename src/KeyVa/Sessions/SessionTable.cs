using System.Buffers.Binary;
using System.Diagnostics;
using KeyVa.Io;

namespace KeyVa.Sessions;

/// <summary>What becomes of a write of a client's session when it is applied.</summary>
internal enum SessionVerdict : byte
{
    /// <summary>Seen for the first time: it is applied, and its result kept.</summary>
    Apply = 0,

    /// <summary>Applied before: it is answered with the result that was kept.</summary>
    Repeat,

    /// <summary>Older than the session's newest write, or there is no such session, or no more: whether it was applied is not known. It is refused.</summary>
    Unknown,
}

/// <summary>
/// Which writes of which clients were applied, so that a write that is sent again is applied once (extended Raft paper, §8; dissertation, §6.3). A part of a
/// partition's state: asked and changed while commands are applied, in log order, by nothing but the log, so that it is the same on every replica and after a
/// replay; it goes into the partition's files with the index that they contain (<see cref="SessionsFile"/>).
/// </summary>
/// <remarks>
/// <para>A session has one write under way at a time: the next one says that the client has the result of the one before. So each keeps one result. A client with
/// several writes at once has several sessions.</para>
/// <para>Bounded: <see cref="MaxSessions"/> sessions, the one used longest ago gives way to a new one, and one that was not used for <see cref="Expiry"/> of the log's
/// time ends. A session that has ended is refused, never treated as new.</para>
/// <para>Thread-safety: the partition's writer alone, but <see cref="Capture"/> may run elsewhere while <see cref="Publish"/> does not (the engine sees to it).
/// Invariant: what Capture sees is as of the end of a group: what the group that is being applied has changed stands apart until Publish.</para>
/// </remarks>
internal sealed class SessionTable(int maxSessions = SessionTable.MaxSessions)
{
    /// <summary>Sessions of a partition.</summary>
    public const int MaxSessions = 16_384;

    /// <summary>Bytes of one result, at most.</summary>
    public const int MaxResultBytes = 4 << 10;

    private const byte FormatVersion = 1;

    // version u8, count u32; per session client i64, sequence i64, stamp i64, length u32.
    private const int HeadBytes = 5;
    private const int SessionBytes = 28;

    /// <summary>How long a session lives that nobody uses, by the log's stamps.</summary>
    public static readonly TimeSpan Expiry = TimeSpan.FromHours(1);

    private readonly Dictionary<long, LinkedListNode<Session>> _sessions = [];

    // Used longest ago first.
    private readonly LinkedList<Session> _order = new();

    // Of the group that is being applied: the sessions as it has left them, and in which order it has used them.
    private readonly Dictionary<long, Session> _changed = [];
    private readonly List<long> _used = [];

    private byte[]? _captured = [];

    private readonly record struct Session(long Client, long Sequence, long Stamp, byte[] Result);

    /// <summary>Sessions as of the end of the last group.</summary>
    public int Count => _sessions.Count;

    /// <summary>Opens a session under a number that is never given twice. Opening it again changes nothing but when it was used.</summary>
    public void Open(long client, long stamp) =>
        Change(TryFind(client, stamp, out Session session) ? session with { Stamp = stamp } : new Session(client, 0, stamp, []));

    /// <summary>
    /// Whether a write that is in the log by <paramref name="stamp"/> and not applied yet finds its session, as of the end of the last group: it was used within half of its life, and half of the
    /// places are free. So much can be behind, here and on the clock of whoever leads, without the write being refused.
    /// </summary>
    public bool IsSureOf(long client, long sequence, long stamp) =>
        _sessions.TryGetValue(client, out LinkedListNode<Session>? node) && sequence >= Math.Max(1, node.Value.Sequence)
        && stamp - node.Value.Stamp <= (long)Expiry.TotalMilliseconds / 2 && _order.Count <= maxSessions / 2;

    /// <summary>Asks for a write; <paramref name="sequence"/> counts a session's writes from 1.</summary>
    public SessionVerdict Look(long client, long sequence, long stamp, out ReadOnlyMemory<byte> result)
    {
        result = default;
        if (!TryFind(client, stamp, out Session session) || sequence < session.Sequence || sequence == 0)
        {
            return SessionVerdict.Unknown;
        }

        Change(session with { Stamp = stamp });
        result = session.Result;
        return sequence == session.Sequence ? SessionVerdict.Repeat : SessionVerdict.Apply;
    }

    /// <summary>Keeps the result of a write that was applied. The bytes belong to the table from here on.</summary>
    public void Record(long client, long sequence, long stamp, byte[] result)
    {
        Debug.Assert(result.Length <= MaxResultBytes, "results are cut before");
        Change(new Session(client, sequence, stamp, result));
    }

    /// <summary>The group is applied, whose stamp this is.</summary>
    public void Publish(long stamp)
    {
        if (_used.Count == 0)
        {
            return;
        }

        foreach (long client in _used)
        {
            if (_sessions.Remove(client, out LinkedListNode<Session>? node))
            {
                _order.Remove(node);
            }

            _sessions.Add(client, _order.AddLast(_changed[client]));
        }

        while (_order.First is { } oldest && (_order.Count > maxSessions || IsExpired(oldest.Value, stamp)))
        {
            _sessions.Remove(oldest.Value.Client);
            _order.RemoveFirst();
        }

        _used.Clear();
        _changed.Clear();
        _captured = null;
    }

    /// <summary>The table as bytes (docs/format.md, Sessions), the same on every replica; empty if there are no sessions. They must not be changed.</summary>
    public byte[] Capture()
    {
        if (_captured is { } captured)
        {
            return captured;
        }

        using var buffer = new NativeBuffer();
        if (_order.Count > 0)
        {
            buffer.AppendByte(FormatVersion);
            buffer.AppendUInt32((uint)_order.Count);
        }

        foreach (Session session in _order)
        {
            buffer.AppendInt64(session.Client);
            buffer.AppendInt64(session.Sequence);
            buffer.AppendInt64(session.Stamp);
            buffer.AppendUInt32((uint)session.Result.Length);
            buffer.Append(session.Result);
        }

        return _captured = buffer.Written.ToArray();
    }

    /// <summary>Fills an empty table with what <see cref="Capture"/> gave; false for anything else, and the table is of no use then.</summary>
    public bool TryLoad(ReadOnlySpan<byte> bytes)
    {
        Debug.Assert(_order.Count == 0 && _used.Count == 0, "an engine loads it once");
        if (bytes.IsEmpty)
        {
            return true;
        }

        if (bytes.Length < HeadBytes || bytes[0] != FormatVersion)
        {
            return false;
        }

        uint count = BinaryPrimitives.ReadUInt32LittleEndian(bytes[1..]);
        bytes = bytes[HeadBytes..];
        for (uint i = 0; i < count; i++)
        {
            if (bytes.Length < SessionBytes)
            {
                return false;
            }

            uint length = BinaryPrimitives.ReadUInt32LittleEndian(bytes[24..]);
            if (length > MaxResultBytes || length > (uint)(bytes.Length - SessionBytes))
            {
                return false;
            }

            var session = new Session(
                BinaryPrimitives.ReadInt64LittleEndian(bytes),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]),
                BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]),
                bytes.Slice(SessionBytes, (int)length).ToArray());
            LinkedListNode<Session> node = new(session);
            if (session.Sequence < 0 || !_sessions.TryAdd(session.Client, node))
            {
                return false;
            }

            _order.AddLast(node);
            bytes = bytes[(SessionBytes + (int)length)..];
        }

        _captured = null;
        return bytes.IsEmpty && count > 0;
    }

    private static bool IsExpired(in Session session, long stamp) => stamp - session.Stamp > (long)Expiry.TotalMilliseconds;

    private bool TryFind(long client, long stamp, out Session session)
    {
        if (_changed.TryGetValue(client, out session))
        {
            return true;
        }

        if (!_sessions.TryGetValue(client, out LinkedListNode<Session>? node))
        {
            return false;
        }

        session = node.Value;

        // One that is due is gone, whether or not a group has come that takes it away.
        return !IsExpired(session, stamp);
    }

    private void Change(in Session session)
    {
        _changed[session.Client] = session;
        _used.Add(session.Client);
    }
}
