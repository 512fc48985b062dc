using System.Buffers.Binary;
using KeyVa.Log;
using KeyVa.Raft;
using LogPosition = KeyVa.Log.LogPosition;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// The journal record of a replica: a state, entries of its log, or both, in one so that neither reaches the disk without the other. One for
/// each replica, used again and again. The payload (docs/format.md, Replicated partitions), little-endian:
/// <code>
///   format   1 byte   1
///   parts    1 byte   bit 0: a state, bit 1: entries
///   state:   term 8, vote 8, base index 8, base term 8, membership: length 4, bytes (MembershipEncoding)
///   entries: first index 8, count 4, then each: term 8, kind 1, length 4, bytes
/// </code>
/// The base is what the log stands on: everything up to it is in the partition's files. A later state takes the place of all earlier ones;
/// entries take the place of whatever stood from their first index on.
/// </summary>
internal sealed class ReplicaRecord(long partition, Action<ReplicaRecord> completed) : JournalEntry
{
    public const byte Format = 1;
    public const byte StatePart = 1;
    public const byte EntriesPart = 2;
    public const int EntryHeadBytes = 13;

    private const int KeptBytes = 4 << 20;

    private readonly LogPosition[] _positions = [new LogPosition(partition, 0, 0)];

    /// <summary>The number of the newest work in it; 0: none, only a state.</summary>
    public long Number { get; private set; }

    /// <summary>If it holds a state: its base's index.</summary>
    public long? Base { get; private set; }

    public override ReadOnlySpan<LogPosition> Positions => _positions;

    /// <summary>
    /// Fills it. The record holds its segment until the partition's files have passed its index: the last entry's; or of a state, one behind the
    /// base, so that the state stays until the next one was written, which happens before the files' progress is told to the journal.
    /// </summary>
    public void Fill(long number, HardState? state, SnapshotMetadata stand, ReadOnlySpan<Entry> entries)
    {
        Number = number;
        Base = state is null ? null : stand.Index;
        Kind = RecordKind.Replicated;
        MayUseReserve = entries.IsEmpty;
        Payload.Clear(KeptBytes);
        Payload.AppendByte(Format);
        Payload.AppendByte((byte)((state is null ? 0 : StatePart) | (entries.IsEmpty ? 0 : EntriesPart)));
        long index = stand.Index + 1;
        if (state is { } hard)
        {
            byte[] membership = MembershipEncoding.Encode(stand.Membership);
            Payload.AppendInt64(hard.Term);
            Payload.AppendInt64(hard.Vote);
            Payload.AppendInt64(stand.Index);
            Payload.AppendInt64(stand.Term);
            Payload.AppendUInt32((uint)membership.Length);
            Payload.Append(membership);
        }

        if (!entries.IsEmpty)
        {
            index = Math.Max(index, entries[^1].Index);
            Payload.AppendInt64(entries[0].Index);
            Payload.AppendUInt32((uint)entries.Length);
            foreach (ref readonly Entry entry in entries)
            {
                Payload.AppendInt64(entry.Term);
                Payload.AppendByte((byte)entry.Kind);
                Payload.AppendUInt32((uint)entry.Data.Length);
                Payload.Append(entry.Data.Span);
            }
        }

        // Terms are the entries' own; a position without one is shorter.
        _positions[0] = new LogPosition(partition, 0, index);
    }

    public override void Completed() => completed(this);
}

/// <summary>Reads the payload of a <see cref="ReplicaRecord"/>.</summary>
internal ref struct ReplicaRecordReader
{
    private ReadOnlySpan<byte> _rest;

    public HardState? State { get; private set; }

    public SnapshotMetadata? Base { get; private set; }

    public long FirstIndex { get; private set; }

    public int Count { get; private set; }

    /// <summary>Reads what stands before the entries; false if the bytes are no payload of this format.</summary>
    public static bool TryOpen(ReadOnlySpan<byte> payload, out ReplicaRecordReader reader)
    {
        reader = default;
        if (payload.Length < 2 || payload[0] != ReplicaRecord.Format || (payload[1] & ~(ReplicaRecord.StatePart | ReplicaRecord.EntriesPart)) != 0)
        {
            return false;
        }

        byte parts = payload[1];
        reader._rest = payload[2..];
        return ((parts & ReplicaRecord.StatePart) == 0 || reader.TryReadState()) && ((parts & ReplicaRecord.EntriesPart) == 0 || reader.TryReadHead());
    }

    /// <summary>Reads the next entry; its bytes are a copy.</summary>
    public bool TryRead(long index, out Entry entry)
    {
        entry = default;
        if (_rest.Length < ReplicaRecord.EntryHeadBytes)
        {
            return false;
        }

        long term = BinaryPrimitives.ReadInt64LittleEndian(_rest);
        byte kind = _rest[8];
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(_rest[9..]);
        if (kind > (byte)EntryKind.Membership || length > (uint)(_rest.Length - ReplicaRecord.EntryHeadBytes))
        {
            return false;
        }

        entry = new Entry(term, index, (EntryKind)kind, _rest.Slice(ReplicaRecord.EntryHeadBytes, (int)length).ToArray());
        _rest = _rest[(ReplicaRecord.EntryHeadBytes + (int)length)..];
        return true;
    }

    private bool TryReadState()
    {
        const int Fixed = (4 * sizeof(long)) + sizeof(uint);
        if (_rest.Length < Fixed)
        {
            return false;
        }

        uint length = BinaryPrimitives.ReadUInt32LittleEndian(_rest[32..]);
        if (length > (uint)(_rest.Length - Fixed) || !MembershipEncoding.TryDecode(_rest.Slice(Fixed, (int)length), out Membership membership))
        {
            return false;
        }

        State = new HardState(BinaryPrimitives.ReadInt64LittleEndian(_rest), BinaryPrimitives.ReadInt64LittleEndian(_rest[8..]));
        Base = new SnapshotMetadata(BinaryPrimitives.ReadInt64LittleEndian(_rest[16..]), BinaryPrimitives.ReadInt64LittleEndian(_rest[24..]), membership);
        _rest = _rest[(Fixed + (int)length)..];
        return true;
    }

    private bool TryReadHead()
    {
        if (_rest.Length < sizeof(long) + sizeof(uint))
        {
            return false;
        }

        FirstIndex = BinaryPrimitives.ReadInt64LittleEndian(_rest);
        uint count = BinaryPrimitives.ReadUInt32LittleEndian(_rest[8..]);
        Count = (int)Math.Min(count, int.MaxValue);
        _rest = _rest[12..];
        return FirstIndex > 0 && count <= (uint)(_rest.Length / ReplicaRecord.EntryHeadBytes);
    }
}
