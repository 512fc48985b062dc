using System.Runtime.InteropServices;
using KeyVa.Commits;
using KeyVa.Indexes;
using KeyVa.Io;
using KeyVa.Merges;
using KeyVa.Sessions;

namespace KeyVa.Partitions;

/// <summary>
/// Encodes one command: operations one behind the other, in memory outside the GC heap that is kept when cleared.
/// One thread at a time. It notes what admission needs to know, so that nobody has to read the bytes again.
/// </summary>
internal sealed class CommandBuilder : IDisposable
{
    private const int KeptBytes = 1 << 16;
    private const int SmallBatch = 8;

    /// <summary>In the place of a key's offset: the operation is about a range.</summary>
    private const int NoKey = -1;

    /// <summary>
    /// What a merge is taken to come to when groups are formed and room is made: the value that it grows is not known before it is applied.
    /// So a group has at most 256 of them, whatever they come to.
    /// </summary>
    private const int AssumedMergeBytes = 4 << 10;

    private int[] _keyOffsets = new int[SmallBatch];
    private int[] _buckets = [];
    private bool _hasTable;
    private List<MergeNote>? _merges;
    private SessionHead _session;
    private CommitStep? _step;
    private long _mergeWeight;

    public int Count { get; private set; }

    /// <summary>Bytes of keys and values.</summary>
    public long DataBytes { get; private set; }

    /// <summary>The longest value.</summary>
    public int LongestValue { get; private set; }

    /// <summary>The shortest and the longest key.</summary>
    public int ShortestKey { get; private set; } = int.MaxValue;

    public int LongestKey { get; private set; }

    public bool HasRemovals { get; private set; }

    /// <summary>Whether it removes a range.</summary>
    public bool HasRanges { get; private set; }

    /// <summary>Whether it merges.</summary>
    public bool HasMerges { get; private set; }

    /// <summary>About how many bytes applying it writes.</summary>
    public long Weight => Buffer.Length + _mergeWeight;

    /// <summary>The lowest format of a record that may hold it (see <see cref="GroupEntry"/>).</summary>
    public byte Format { get; private set; } = GroupEntry.Format;

    /// <summary>The first removal of a range that ends where or before it begins; -1 if there is none.</summary>
    public int EmptyRange { get; private set; } = -1;

    /// <summary>Whether nothing in it needs room: such a command may use the disk reserve.</summary>
    public bool OnlyRemovals { get; private set; } = true;

    /// <summary>The second place of a key that stands in the batch twice; -1 if none does.</summary>
    public int DuplicateKey { get; private set; } = -1;

    /// <summary>When it is to be answered, as its caller says.</summary>
    public Acknowledgement Acknowledgement { get; set; }

    /// <summary>The same as it counts (<see cref="KeyVa.Acknowledgement.Early"/>), once the store has accepted the command; 0: when it is applied.</summary>
    public byte Early { get; set; }

    /// <summary>The session that it belongs to; none, unless set.</summary>
    public SessionHead Session
    {
        get => _session;
        set
        {
            _session = value;
            Format = Math.Max(Format, value.IsSet ? GroupEntry.SessionFormat : GroupEntry.Format);
        }
    }

    /// <summary>The step of a commit over several partitions of a cluster that it is; null: an ordinary command.</summary>
    public CommitStep? Step
    {
        get => _step;
        set
        {
            _step = value;
            Format = Math.Max(Format, value is null ? GroupEntry.Format : GroupEntry.CommitFormat);
        }
    }

    /// <summary>Bytes of what stands in front of its operations: the session that it belongs to, or what step it is.</summary>
    public int HeadLength => _step?.Length ?? _session.Length;

    /// <summary>Bytes of the command in a group: what it does, behind its head.</summary>
    public int Length => HeadLength + Buffer.Length;

    /// <summary>Whether what it does depends on what is there: then nothing can be said before it is applied.</summary>
    public bool NeedsOutcome { get; private set; }

    /// <summary>Gets what rolling back came to; null: the command does not roll back.</summary>
    public RollBackTally? Tally { get; private set; }

    public NativeBuffer Buffer { get; } = new(256);

    /// <summary><paramref name="isDistinct"/>: the caller has seen to it that no key stands in the command twice.</summary>
    public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, in WriteOptions options, bool isDistinct = false)
    {
        Note(key, isDistinct);
        OnlyRemovals = false;
        DataBytes += key.Length + value.Length;
        LongestValue = Math.Max(LongestValue, value.Length);
        NeedsOutcome |= options.Condition.Kind != ConditionKind.None;
        OperationEncoding.AppendPut(Buffer, key, value, options);
        Count++;
    }

    public void Remove(ReadOnlySpan<byte> key, in Condition condition, bool blind)
    {
        Note(key);
        HasRemovals = true;
        DataBytes += key.Length;
        NeedsOutcome |= condition.Kind != ConditionKind.None;
        OperationEncoding.AppendRemove(Buffer, key, condition, blind);
        Count++;
    }

    /// <summary>Makes a key's value from the one that it has and an operand.</summary>
    public void Merge(ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, in WriteOptions options)
    {
        NoteMerge(key, operand.Length);
        int limit = MergeEncoding.Append(Buffer, key, function, operand, options);
        (_merges ??= []).Add(new MergeNote(Count, limit, function));
        Count++;
    }

    /// <summary>Several merges of one key, one after the other (see <see cref="MergeStack"/>), of functions that are known to be registered.</summary>
    public void MergeAll(ReadOnlySpan<byte> key, ReadOnlySpan<byte> stack, int limit, in WriteOptions options)
    {
        NoteMerge(key, stack.Length);
        MergeEncoding.AppendStack(Buffer, key, stack, limit, options);
        Count++;
    }

    /// <summary>The function of an operation that is a merge.</summary>
    public MergeFunction MergeOf(int operation) => _merges!.Find(merge => merge.Operation == operation).Function;

    /// <summary>
    /// The store accepts the command: no merge may come to a longer value than this. False if it does not know the function of one, which is then named.
    /// </summary>
    public bool AdmitMerges(int maxValueBytes, MergeRegistry functions, out int operation, out MergeFunction? unknown)
    {
        foreach (MergeNote merge in _merges!)
        {
            if (!functions.Knows(merge.Function))
            {
                (operation, unknown) = (merge.Operation, merge.Function);
                return false;
            }

            MergeEncoding.SetLimit(Buffer, merge.LimitOffset, maxValueBytes);
        }

        (operation, unknown) = (-1, null);
        return true;
    }

    /// <summary>Removes [from, to); empty bounds are open.</summary>
    public void RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        NoteOffset(NoKey);
        LongestKey = Math.Max(LongestKey, Math.Max(from.Length, to.Length));
        HasRemovals = true;
        HasRanges = true;
        Format = Math.Max(Format, GroupEntry.FormatWithRanges);
        DataBytes += from.Length + to.Length;
        if (EmptyRange < 0 && !to.IsEmpty && from.SequenceCompareTo(to) >= 0)
        {
            EmptyRange = Count;
        }

        OperationEncoding.AppendRemoveRange(Buffer, from, to);
        Count++;
    }

    /// <summary>Adds a condition on a key that is not written.</summary>
    public void Check(ReadOnlySpan<byte> key, in Condition condition)
    {
        Note(key);
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        DataBytes += key.Length;
        CheckEncoding.AppendKey(Buffer, key, condition);
        Count++;
    }

    /// <summary>Adds the condition that a range of one partition holds what it held.</summary>
    public void Check(in RangeCheck check)
    {
        NoteOffset(NoKey);
        LongestKey = Math.Max(LongestKey, Math.Max(check.From.Length, check.To.Length));
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        DataBytes += check.From.Length + check.To.Length;
        CheckEncoding.AppendRange(Buffer, check);
        Count++;
    }

    /// <summary>Adds the condition that an index of one partition holds what it held.</summary>
    public void Check(in IndexCheck check)
    {
        NoteOffset(NoKey);
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        DataBytes += check.From.Length + check.To.Length;
        CheckEncoding.AppendIndex(Buffer, check);
        Count++;
    }

    /// <summary>Brings [from, to) back to what it was at a version; a command of its own.</summary>
    public void RollBack(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to, long version)
    {
        NoteOffset(NoKey);
        LongestKey = Math.Max(LongestKey, Math.Max(from.Length, to.Length));
        OnlyRemovals = false;
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        Tally = new RollBackTally();
        OperationEncoding.AppendRollBack(Buffer, from, to, version);
        Count++;
    }

    /// <summary>Says something of an index; such a command goes to a partition of the caller's choice.</summary>
    public void Index(Indexes.IndexAction action, long index, ReadOnlySpan<byte> from)
    {
        NoteOffset(NoKey);
        OnlyRemovals = false;
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        OperationEncoding.AppendIndex(Buffer, action, index, from);
        Count++;
    }

    /// <summary>Changes one of the partition's own settings; such a command goes to a partition of the caller's choice.</summary>
    public void Setting(string name, string value)
    {
        NoteOffset(NoKey);
        OnlyRemovals = false;
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.SettingsFormat);
        OperationEncoding.AppendSetting(Buffer, System.Text.Encoding.UTF8.GetBytes(name), System.Text.Encoding.UTF8.GetBytes(value));
        Count++;
    }

    public void Clear()
    {
        Tally = null;
        Acknowledgement = default;
        Early = 0;
        NeedsOutcome = false;
        _session = default;
        _step = null;
        Buffer.Clear(KeptBytes);
        if (_buckets.Length > 4096)
        {
            _buckets = [];
            _keyOffsets = new int[SmallBatch];
        }
        else if (_buckets.Length > 0)
        {
            _buckets.AsSpan().Clear();
        }

        _hasTable = false;
        Count = 0;
        DataBytes = 0;
        LongestValue = 0;
        ShortestKey = int.MaxValue;
        LongestKey = 0;
        HasRemovals = false;
        HasRanges = false;
        if (HasMerges)
        {
            HasMerges = false;
            _merges?.Clear();
            _mergeWeight = 0;
        }

        Format = GroupEntry.Format;
        EmptyRange = -1;
        OnlyRemovals = true;
        DuplicateKey = -1;
    }

    /// <summary>Writes what stands in front of its operations; there is room for <see cref="HeadLength"/>.</summary>
    public void WriteHead(Span<byte> to)
    {
        if (_step is not null)
        {
            _step.WriteTo(to);
        }
        else
        {
            _session.WriteTo(to);
        }
    }

    public void Dispose() => Buffer.Dispose();

    private void NoteMerge(ReadOnlySpan<byte> key, int operandBytes)
    {
        Note(key);
        OnlyRemovals = false;
        HasMerges = true;
        NeedsOutcome = true;
        Format = Math.Max(Format, GroupEntry.ExtendedFormat);
        DataBytes += key.Length + operandBytes;
        LongestValue = Math.Max(LongestValue, operandBytes);
        _mergeWeight += AssumedMergeBytes;
    }

    private static int Hash(ReadOnlySpan<byte> key)
    {
        // The runtime's string hash is seeded per process, so nobody can choose keys that collide.
        int hash = string.GetHashCode(MemoryMarshal.Cast<byte, char>(key));
        return (key.Length & 1) == 0 ? hash : HashCode.Combine(hash, key[^1]);
    }

    private void Note(ReadOnlySpan<byte> key, bool isDistinct = false)
    {
        ShortestKey = Math.Min(ShortestKey, key.Length);
        LongestKey = Math.Max(LongestKey, key.Length);
        NoteOffset(Buffer.Length);
        if (!isDistinct && DuplicateKey < 0 && Count > 0 && IsDuplicate(key))
        {
            DuplicateKey = Count;
        }
    }

    private void NoteOffset(int offset)
    {
        if (Count == _keyOffsets.Length)
        {
            Array.Resize(ref _keyOffsets, Count * 2);
        }

        _keyOffsets[Count] = offset;
    }

    private ReadOnlySpan<byte> KeyAt(int operation)
    {
        ReadOnlySpan<byte> bytes = Buffer.Written[(_keyOffsets[operation] + 1)..];
        int taken = Varint.Read(bytes, out ulong length);
        return bytes.Slice(taken, (int)length);
    }

    /// <summary>Compares with the few keys of a small batch; a larger one gets an open-addressed table of its keys.</summary>
    private bool IsDuplicate(ReadOnlySpan<byte> key)
    {
        if (Count < SmallBatch)
        {
            for (int i = 0; i < Count; i++)
            {
                if (_keyOffsets[i] != NoKey && KeyAt(i).SequenceEqual(key))
                {
                    return true;
                }
            }

            return false;
        }

        if (!_hasTable || Count * 2 > _buckets.Length)
        {
            _hasTable = true;
            _buckets = new int[Math.Max(SmallBatch * 8, (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Count * 4))];
            for (int i = 0; i < Count; i++)
            {
                if (_keyOffsets[i] != NoKey)
                {
                    Insert(KeyAt(i), i);
                }
            }
        }

        return Insert(key, Count);
    }

    /// <summary>True if the key was in the table already.</summary>
    private bool Insert(ReadOnlySpan<byte> key, int operation)
    {
        int mask = _buckets.Length - 1;
        for (int slot = Hash(key) & mask; ; slot = (slot + 1) & mask)
        {
            int other = _buckets[slot] - 1;
            if (other < 0)
            {
                _buckets[slot] = operation + 1;
                return false;
            }

            if (KeyAt(other).SequenceEqual(key))
            {
                return true;
            }
        }
    }

    private readonly record struct MergeNote(int Operation, int LimitOffset, MergeFunction Function);
}
