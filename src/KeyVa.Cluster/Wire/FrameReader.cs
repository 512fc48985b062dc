using System.Buffers.Binary;
using KeyVa.Cluster.Changes;
using KeyVa.Cluster.Driver;
using KeyVa.Raft;

namespace KeyVa.Cluster.Wire;

/// <summary>What a frame holds, item by item. Which members matter, the kind says.</summary>
internal struct FrameItem
{
    public byte Kind;
    public long Partition;

    /// <summary>Of kinds 1 to 12.</summary>
    public Message Message;

    /// <summary>Of a forward and its refusal: in which term the sender took the other for the leader.</summary>
    public long Term;

    /// <summary>Of a forward and its refusal: the sender's number of the group; of a change and its answer: that of the question.</summary>
    public long Group;

    /// <summary>Of a forward: 0, or one more than the voters that must have it before the leader tells so.</summary>
    public byte Early;

    /// <summary>Of what a leader tells of a group.</summary>
    public EarlyReply Reply;

    /// <summary>Of match indexes: what the leader has on disk.</summary>
    public long Index;

    /// <summary>Of match indexes: the other voters'.</summary>
    public ReadOnlyMemory<long> Matches;

    /// <summary>Of a refusal.</summary>
    public ForwardRefusal Reason;

    /// <summary>Of a refusal: who leads, as far as is known.</summary>
    public long Leader;

    /// <summary>Of a layout: whether the sender was told one; else it wants to be.</summary>
    public bool IsAnswer;

    /// <summary>Of a change that is asked for.</summary>
    public ChangeRequest Change;

    /// <summary>Of what became of one.</summary>
    public ChangeAnswer Answer;

    /// <summary>Of a forward: the group's payload; of a book or a layout: its bytes.</summary>
    public ReadOnlyMemory<byte> Bytes;
}

/// <summary>
/// Reads a frame (<see cref="FrameFormat"/>). Bytes from elsewhere are looked at before anything is made of them: each length is compared with
/// what is there before memory is taken. Entries are slices of the frame, which must stay as it is, or of a copy of them, where the frame is mostly something else.
/// </summary>
internal struct FrameReader
{
    private readonly long _from;
    private readonly long _to;
    private readonly int _frameBytes;
    private ReadOnlyMemory<byte> _rest;

    private FrameReader(ReadOnlyMemory<byte> rest, long from, long to)
    {
        _rest = rest;
        _frameBytes = rest.Length;
        _from = from;
        _to = to;
    }

    /// <summary>Which life of the sender's process it comes from.</summary>
    public ulong Life { get; private init; }

    /// <summary>Its number in that life.</summary>
    public ulong Number { get; private init; }

    /// <summary>Whether everything so far could be read.</summary>
    public bool IsIntact { get; private set; } = true;

    /// <summary>False for a frame of another version or another cluster.</summary>
    public static bool TryOpen(ReadOnlyMemory<byte> frame, ulong cluster, long from, long to, out FrameReader reader)
    {
        ReadOnlySpan<byte> head = frame.Span;
        bool isOurs = head.Length >= FrameFormat.HeadBytes && head[0] == FrameFormat.Version && BinaryPrimitives.ReadUInt64LittleEndian(head[1..]) == cluster;
        reader = isOurs
            ? new FrameReader(frame[FrameFormat.HeadBytes..], from, to) { Life = BinaryPrimitives.ReadUInt64LittleEndian(head[9..]), Number = BinaryPrimitives.ReadUInt64LittleEndian(head[17..]) }
            : default;
        return isOurs;
    }

    /// <summary>The next item; false at the end, or where the frame makes no sense any more (<see cref="IsIntact"/>).</summary>
    public bool TryRead(out FrameItem item)
    {
        item = default;
        if (_rest.IsEmpty)
        {
            return false;
        }

        IsIntact = _rest.Length >= FrameFormat.ItemHeadBytes && TryReadItem(ref item);
        if (!IsIntact)
        {
            _rest = default;
        }

        return IsIntact;
    }

    private bool TryReadItem(ref FrameItem item)
    {
        ReadOnlySpan<byte> head = _rest.Span;
        item.Kind = head[0];
        byte flags = head[1];
        item.Partition = BinaryPrimitives.ReadInt64LittleEndian(head[2..]);
        _rest = _rest[FrameFormat.ItemHeadBytes..];
        return item.Kind switch
        {
            FrameFormat.Forward => TryReadForward(ref item, flags),
            FrameFormat.Refused => TryReadRefused(ref item),
            FrameFormat.Told => TryReadTold(ref item),
            FrameFormat.Ask => TryReadAsk(ref item),
            FrameFormat.Matches => TryReadMatches(ref item),
            FrameFormat.Change => TryReadChange(ref item),
            FrameFormat.Changed => TryReadChanged(ref item),
            FrameFormat.Book => TryReadBytes(ref item),
            FrameFormat.Layout => TryReadLayout(ref item, flags),
            >= (byte)MessageKind.PreVote and <= (byte)MessageKind.ReadReply and not (byte)MessageKind.InstallSnapshot => TryReadMessage(ref item, flags),
            _ => false,
        };
    }

    private bool TryReadMessage(ref FrameItem item, byte flags)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        if (body.Length < FrameFormat.MessageBytes || flags > 7)
        {
            return false;
        }

        _rest = _rest[FrameFormat.MessageBytes..];
        ReadOnlyMemory<Entry> entries = default;
        long index = BinaryPrimitives.ReadInt64LittleEndian(body[16..]);
        if (item.Kind == (byte)MessageKind.Append && !TryReadEntries(index, out entries))
        {
            return false;
        }

        item.Message = new Message
        {
            Kind = (MessageKind)item.Kind,
            From = _from,
            To = _to,
            Term = BinaryPrimitives.ReadInt64LittleEndian(body),
            LogTerm = BinaryPrimitives.ReadInt64LittleEndian(body[8..]),
            Index = index,
            Commit = BinaryPrimitives.ReadInt64LittleEndian(body[24..]),
            HintIndex = BinaryPrimitives.ReadInt64LittleEndian(body[32..]),
            HintTerm = BinaryPrimitives.ReadInt64LittleEndian(body[40..]),
            Context = BinaryPrimitives.ReadInt64LittleEndian(body[48..]),
            Reject = (flags & 1) != 0,
            Force = (flags & 2) != 0,
            Quiesce = (flags & 4) != 0,
            Entries = entries,
        };
        return item.Message.Term >= 0 && index >= 0 && index < long.MaxValue - int.MaxValue;
    }

    private bool TryReadEntries(long index, out ReadOnlyMemory<Entry> entries)
    {
        entries = default;
        if (_rest.Length < sizeof(int))
        {
            return false;
        }

        uint count = BinaryPrimitives.ReadUInt32LittleEndian(_rest.Span);
        _rest = _rest[sizeof(int)..];
        if (count > (uint)(_rest.Length / FrameFormat.EntryHeadBytes))
        {
            return false;
        }

        ReadOnlyMemory<byte> all = _rest;
        Entry[] read = new Entry[count];
        for (int i = 0; i < read.Length; i++)
        {
            ReadOnlySpan<byte> at = _rest.Span;
            if (at.Length < FrameFormat.EntryHeadBytes || at[8] > (byte)EntryKind.Membership)
            {
                return false;
            }

            uint length = BinaryPrimitives.ReadUInt32LittleEndian(at[9..]);
            if (length > (uint)(at.Length - FrameFormat.EntryHeadBytes))
            {
                return false;
            }

            ReadOnlyMemory<byte> data = _rest.Slice(FrameFormat.EntryHeadBytes, (int)length);
            if (!IsSound((EntryKind)at[8], data.Span))
            {
                return false;
            }

            read[i] = new Entry(BinaryPrimitives.ReadInt64LittleEndian(at), index + 1 + i, (EntryKind)at[8], data);
            _rest = _rest[(FrameFormat.EntryHeadBytes + (int)length)..];
        }

        Own(read, all[..^_rest.Length]);
        entries = read;
        return true;
    }

    /// <summary>Entries that are less than half of the frame get memory of their own.</summary>
    private readonly void Own(Entry[] entries, ReadOnlyMemory<byte> bytes)
    {
        if (entries.Length == 0 || bytes.Length >= _frameBytes / 2)
        {
            return;
        }

        ReadOnlyMemory<byte> copy = bytes.ToArray();
        int at = 0;
        foreach (ref Entry entry in entries.AsSpan())
        {
            at += FrameFormat.EntryHeadBytes;
            entry = entry with { Data = copy.Slice(at, entry.Data.Length) };
            at += entry.Data.Length;
        }
    }

    // The group takes what a membership says at its word.
    private static bool IsSound(EntryKind kind, ReadOnlySpan<byte> data) => kind switch
    {
        EntryKind.Membership => MembershipEncoding.TryDecode(data, out _),
        EntryKind.Empty => data.IsEmpty,
        _ => data.Length >= Driver.CommandEntry.HeadBytes,
    };

    private bool TryReadTold(ref FrameItem item)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        if (body.Length < FrameFormat.ToldBytes || body[32] > 1)
        {
            return false;
        }

        item.Reply = new EarlyReply(
            BinaryPrimitives.ReadInt64LittleEndian(body),
            BinaryPrimitives.ReadInt64LittleEndian(body[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(body[16..]),
            BinaryPrimitives.ReadInt64LittleEndian(body[24..]),
            body[32] == 1,
            body[33]);
        _rest = _rest[FrameFormat.ToldBytes..];
        return item.Reply.Others < byte.MaxValue;
    }

    private bool TryReadAsk(ref FrameItem item)
    {
        if (_rest.Length < sizeof(long))
        {
            return false;
        }

        item.Term = BinaryPrimitives.ReadInt64LittleEndian(_rest.Span);
        _rest = _rest[sizeof(long)..];
        return true;
    }

    private bool TryReadMatches(ref FrameItem item)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        const int Head = 17;
        if (body.Length < Head || body[16] > (body.Length - Head) / sizeof(long))
        {
            return false;
        }

        item.Term = BinaryPrimitives.ReadInt64LittleEndian(body);
        item.Index = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        long[] matches = new long[body[16]];
        for (int i = 0; i < matches.Length; i++)
        {
            matches[i] = BinaryPrimitives.ReadInt64LittleEndian(body[(Head + (i * sizeof(long)))..]);
        }

        item.Matches = matches;
        _rest = _rest[(Head + (matches.Length * sizeof(long)))..];
        return true;
    }

    private bool TryReadChange(ref FrameItem item)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        if (body.Length < FrameFormat.ChangeBytes)
        {
            return false;
        }

        item.Group = BinaryPrimitives.ReadInt64LittleEndian(body);
        item.Change = new ChangeRequest((ChangeKind)body[8], BinaryPrimitives.ReadInt64LittleEndian(body[9..]));
        _rest = _rest[FrameFormat.ChangeBytes..];
        return item.Change.Kind is >= ChangeKind.Tell and <= ChangeKind.Transfer && item.Change.Node >= (item.Change.Kind == ChangeKind.Tell ? 0 : 1);
    }

    private bool TryReadChanged(ref FrameItem item)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        if (body.Length < FrameFormat.ChangedHeadBytes || body[25] > (body.Length - FrameFormat.ChangedHeadBytes) / (2 * sizeof(long)))
        {
            return false;
        }

        item.Group = BinaryPrimitives.ReadInt64LittleEndian(body);
        var members = new MemberProgress[body[25]];
        for (int i = 0; i < members.Length; i++)
        {
            ReadOnlySpan<byte> at = body[(FrameFormat.ChangedHeadBytes + (i * 2 * sizeof(long)))..];
            members[i] = new MemberProgress(BinaryPrimitives.ReadInt64LittleEndian(at), BinaryPrimitives.ReadInt64LittleEndian(at[sizeof(long)..]));
        }

        item.Answer = new ChangeAnswer((ChangeOutcome)body[8], BinaryPrimitives.ReadInt64LittleEndian(body[9..]), BinaryPrimitives.ReadInt64LittleEndian(body[17..]), members);
        _rest = _rest[(FrameFormat.ChangedHeadBytes + (members.Length * 2 * sizeof(long)))..];
        return item.Answer.Outcome is >= ChangeOutcome.Done and <= ChangeOutcome.NotLeader;
    }

    private bool TryReadLayout(ref FrameItem item, byte flags)
    {
        item.IsAnswer = flags == 1;
        return flags <= 1 && TryReadBytes(ref item);
    }

    private bool TryReadForward(ref FrameItem item, byte early)
    {
        item.Early = early;
        if (_rest.Length < 16)
        {
            return false;
        }

        item.Term = BinaryPrimitives.ReadInt64LittleEndian(_rest.Span);
        item.Group = BinaryPrimitives.ReadInt64LittleEndian(_rest.Span[8..]);
        _rest = _rest[16..];
        return TryReadBytes(ref item);
    }

    private bool TryReadRefused(ref FrameItem item)
    {
        ReadOnlySpan<byte> body = _rest.Span;
        if (body.Length < 25)
        {
            return false;
        }

        item.Term = BinaryPrimitives.ReadInt64LittleEndian(body);
        item.Group = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        item.Reason = (ForwardRefusal)body[16];
        item.Leader = BinaryPrimitives.ReadInt64LittleEndian(body[17..]);
        _rest = _rest[25..];
        return item.Reason is >= ForwardRefusal.NotLeader and <= ForwardRefusal.TooFewReplicas;
    }

    private bool TryReadBytes(ref FrameItem item)
    {
        if (_rest.Length < sizeof(int))
        {
            return false;
        }

        uint length = BinaryPrimitives.ReadUInt32LittleEndian(_rest.Span);
        if (length > (uint)(_rest.Length - sizeof(int)))
        {
            return false;
        }

        item.Bytes = _rest.Slice(sizeof(int), (int)length);
        _rest = _rest[(sizeof(int) + (int)length)..];
        return true;
    }
}
