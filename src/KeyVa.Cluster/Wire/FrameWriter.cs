using System.Buffers.Binary;
using KeyVa.Cluster.Changes;
using KeyVa.Cluster.Driver;
using KeyVa.Raft;

namespace KeyVa.Cluster.Wire;

/// <summary>Builds the frame to one peer, item by item; used again and again. One thread at a time. See <see cref="FrameFormat"/>.</summary>
internal sealed class FrameWriter
{
    private const int KeptBytes = 4 << 20;

    private readonly ulong _cluster;
    private readonly ulong _life;
    private ulong _number;
    private byte[] _bytes = new byte[4096];
    private int _length;

    public FrameWriter(ulong cluster, ulong life)
    {
        _cluster = cluster;
        _life = life;
        Clear();
    }

    /// <summary>The number of the frame that is being built.</summary>
    public ulong Number => _number;

    public bool IsEmpty => _length == FrameFormat.HeadBytes;

    public bool IsFull => _length >= FrameFormat.FullBytes;

    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, _length);

    public void Clear()
    {
        if (_bytes.Length > KeptBytes)
        {
            _bytes = new byte[4096];
        }

        _bytes[0] = FrameFormat.Version;
        BinaryPrimitives.WriteUInt64LittleEndian(_bytes.AsSpan(1), _cluster);
        BinaryPrimitives.WriteUInt64LittleEndian(_bytes.AsSpan(9), _life);
        BinaryPrimitives.WriteUInt64LittleEndian(_bytes.AsSpan(17), ++_number);
        _length = FrameFormat.HeadBytes;
    }

    public void Add(long partition, in Message message)
    {
        int flags = (message.Reject ? 1 : 0) | (message.Force ? 2 : 0) | (message.Quiesce ? 4 : 0);
        Span<byte> to = Item((byte)message.Kind, (byte)flags, partition, FrameFormat.MessageBytes);
        BinaryPrimitives.WriteInt64LittleEndian(to, message.Term);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], message.LogTerm);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], message.Index);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], message.Commit);
        BinaryPrimitives.WriteInt64LittleEndian(to[32..], message.HintIndex);
        BinaryPrimitives.WriteInt64LittleEndian(to[40..], message.HintTerm);
        BinaryPrimitives.WriteInt64LittleEndian(to[48..], message.Context);
        if (message.Kind != MessageKind.Append)
        {
            return;
        }

        BinaryPrimitives.WriteInt32LittleEndian(Take(sizeof(int)), message.Entries.Length);
        foreach (ref readonly Entry entry in message.Entries.Span)
        {
            Span<byte> at = Take(FrameFormat.EntryHeadBytes + entry.Data.Length);
            BinaryPrimitives.WriteInt64LittleEndian(at, entry.Term);
            at[8] = (byte)entry.Kind;
            BinaryPrimitives.WriteInt32LittleEndian(at[9..], entry.Data.Length);
            entry.Data.Span.CopyTo(at[FrameFormat.EntryHeadBytes..]);
        }
    }

    public void AddForward(long partition, long term, long group, byte early, ReadOnlySpan<byte> payload)
    {
        Span<byte> to = Item(FrameFormat.Forward, early, partition, 20 + payload.Length);
        BinaryPrimitives.WriteInt64LittleEndian(to, term);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], group);
        BinaryPrimitives.WriteInt32LittleEndian(to[16..], payload.Length);
        payload.CopyTo(to[20..]);
    }

    public void AddRefused(long partition, long term, long group, ForwardRefusal reason, long leader)
    {
        Span<byte> to = Item(FrameFormat.Refused, 0, partition, 25);
        BinaryPrimitives.WriteInt64LittleEndian(to, term);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], group);
        to[16] = (byte)reason;
        BinaryPrimitives.WriteInt64LittleEndian(to[17..], leader);
    }

    public void AddTold(long partition, in EarlyReply reply)
    {
        Span<byte> to = Item(FrameFormat.Told, 0, partition, FrameFormat.ToldBytes);
        BinaryPrimitives.WriteInt64LittleEndian(to, reply.Term);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], reply.Group);
        BinaryPrimitives.WriteInt64LittleEndian(to[16..], reply.Index);
        BinaryPrimitives.WriteInt64LittleEndian(to[24..], reply.Version);
        to[32] = reply.IsOnLeader ? (byte)1 : (byte)0;
        to[33] = reply.Others;
    }

    public void AddAsk(long partition, long term) => BinaryPrimitives.WriteInt64LittleEndian(Item(FrameFormat.Ask, 0, partition, sizeof(long)), term);

    public void AddMatches(long partition, MatchIndexes matches)
    {
        int count = Math.Min(matches.Others.Count, byte.MaxValue);
        Span<byte> to = Item(FrameFormat.Matches, 0, partition, 17 + (count * sizeof(long)));
        BinaryPrimitives.WriteInt64LittleEndian(to, matches.Term);
        BinaryPrimitives.WriteInt64LittleEndian(to[8..], matches.Stable);
        to[16] = (byte)count;
        for (int i = 0; i < count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to[(17 + (i * sizeof(long)))..], matches.Others[i]);
        }
    }

    public void AddBook(ReadOnlySpan<byte> book) => AddBytes(FrameFormat.Book, 0, book);

    public void AddLayout(ReadOnlySpan<byte> layout, bool isAnswer) => AddBytes(FrameFormat.Layout, isAnswer ? (byte)1 : (byte)0, layout);

    public void AddChange(long partition, long number, in ChangeRequest request)
    {
        Span<byte> to = Item(FrameFormat.Change, 0, partition, FrameFormat.ChangeBytes);
        BinaryPrimitives.WriteInt64LittleEndian(to, number);
        to[8] = (byte)request.Kind;
        BinaryPrimitives.WriteInt64LittleEndian(to[9..], request.Node);
    }

    public void AddChanged(long partition, long number, in ChangeAnswer answer)
    {
        int count = Math.Min(answer.Members.Count, byte.MaxValue);
        Span<byte> to = Item(FrameFormat.Changed, 0, partition, FrameFormat.ChangedHeadBytes + (count * 2 * sizeof(long)));
        BinaryPrimitives.WriteInt64LittleEndian(to, number);
        to[8] = (byte)answer.Outcome;
        BinaryPrimitives.WriteInt64LittleEndian(to[9..], answer.Leader);
        BinaryPrimitives.WriteInt64LittleEndian(to[17..], answer.CommitIndex);
        to[25] = (byte)count;
        to = to[FrameFormat.ChangedHeadBytes..];
        for (int i = 0; i < count; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(to, answer.Members[i].Node);
            BinaryPrimitives.WriteInt64LittleEndian(to[sizeof(long)..], answer.Members[i].Match);
            to = to[(2 * sizeof(long))..];
        }
    }

    private void AddBytes(byte kind, byte flags, ReadOnlySpan<byte> bytes)
    {
        Span<byte> to = Item(kind, flags, 0, sizeof(int) + bytes.Length);
        BinaryPrimitives.WriteInt32LittleEndian(to, bytes.Length);
        bytes.CopyTo(to[sizeof(int)..]);
    }

    private Span<byte> Item(byte kind, byte flags, long partition, int body)
    {
        Span<byte> to = Take(FrameFormat.ItemHeadBytes + body);
        to[0] = kind;
        to[1] = flags;
        BinaryPrimitives.WriteInt64LittleEndian(to[2..], partition);
        return to[FrameFormat.ItemHeadBytes..];
    }

    private Span<byte> Take(int count)
    {
        if (_bytes.Length - _length < count)
        {
            Array.Resize(ref _bytes, (int)Math.Max((uint)(_length + count), (uint)_bytes.Length * 2));
        }

        _length += count;
        return _bytes.AsSpan(_length - count, count);
    }
}
