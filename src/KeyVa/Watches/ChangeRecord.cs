using System.Runtime.InteropServices;

namespace KeyVa.Watches;

/// <summary>What happened to a key or a range.</summary>
internal enum ChangeKind : byte
{
    Put = 1,
    Remove = 2,

    /// <summary>The key is where the range begins, the value where it ends.</summary>
    RemoveRange = 3,

    /// <summary>A bulk load: its records have this version and stand in the engine alone.</summary>
    Load = 4,
}

/// <summary>
/// How a change stands in memory, 8-byte aligned; behind it: key, value, previous value.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ChangeHeader
{
    public int Bytes;
    public ushort KeyBytes;
    public ChangeKind Kind;
    public byte Reserved;
    public int ValueBytes;
    public int PreviousBytes;
    public long Version;
    public long Stamp;
    public long ExpiresAt;

    /// <summary>0: there was none; below: not asked for.</summary>
    public long PreviousVersion;
}

/// <summary>A change in a chunk; valid while the chunk is pinned.</summary>
internal readonly unsafe ref struct ChangeRecord(ChangeHeader* header)
{
    private readonly ChangeHeader* _header = header;

    public ChangeKind Kind => _header->Kind;

    public long Version => _header->Version;

    public long Stamp => _header->Stamp;

    public long ExpiresAt => _header->ExpiresAt;

    public long PreviousVersion => _header->PreviousVersion;

    public byte* KeyAddress => (byte*)(_header + 1);

    public int KeyLength => _header->KeyBytes;

    public ReadOnlySpan<byte> Key => new(_header + 1, _header->KeyBytes);

    public ReadOnlySpan<byte> Value => new((byte*)(_header + 1) + _header->KeyBytes, _header->ValueBytes);

    public ReadOnlySpan<byte> Previous => new((byte*)(_header + 1) + _header->KeyBytes + _header->ValueBytes, _header->PreviousBytes);
}

/// <summary>A change on the GC heap, for those who watch it; shared by them. Immutable.</summary>
internal sealed class Change
{
    /// <summary>About what the object and its arrays take besides their bytes.</summary>
    private const int OverheadBytes = 160;

    public Change(in ChangeRecord record)
    {
        Kind = record.Kind;
        Version = record.Version;
        Stamp = record.Stamp;
        ExpiresAt = record.ExpiresAt;
        PreviousVersion = record.PreviousVersion;
        Key = record.Key.ToArray();
        Value = record.Value.ToArray();
        Previous = record.Previous.ToArray();
    }

    public Change(Engines.EngineCursor cursor)
    {
        Kind = ChangeKind.Put;
        Version = cursor.Version;
        Stamp = cursor.Stamp;
        ExpiresAt = cursor.ExpiresAt;
        PreviousVersion = WatchEvent.UnknownVersion;
        Key = cursor.Key.ToArray();
        Value = cursor.Value.ToArray();
        Previous = [];
    }

    public Change(Engines.VersionScan scan, long previousVersion, byte[] previous)
    {
        Kind = scan.IsRemoval ? ChangeKind.Remove : ChangeKind.Put;
        Version = scan.Version;
        Stamp = scan.Stamp;
        ExpiresAt = scan.ExpiresAt;
        PreviousVersion = previousVersion;
        Key = scan.Key.ToArray();
        Value = scan.Value.ToArray();
        Previous = previous;
    }

    public Change(in Engines.RemovedRange range)
    {
        Kind = ChangeKind.RemoveRange;
        Version = range.Version;
        Stamp = range.Stamp;
        PreviousVersion = WatchEvent.UnknownVersion;
        Key = range.From;
        Value = range.To;
        Previous = [];
    }

    public ChangeKind Kind { get; }

    public long Version { get; }

    public long Stamp { get; }

    public long ExpiresAt { get; }

    public long PreviousVersion { get; }

    public byte[] Key { get; }

    public byte[] Value { get; }

    public byte[] Previous { get; }

    public int Bytes => OverheadBytes + Key.Length + Value.Length + Previous.Length;

    /// <summary>As a watcher of this range is told.</summary>
    public WatchEvent ToEvent(in WatchTarget target, bool hasMore)
    {
        if (Kind == ChangeKind.RemoveRange)
        {
            return RangeEvent(target, hasMore);
        }

        bool tellsPrevious = target.PreviousValues && PreviousVersion > 0 && !target.KeysOnly;
        return new WatchEvent
        {
            Kind = Kind == ChangeKind.Put ? WatchEventKind.Put : WatchEventKind.Remove,
            Version = Version,
            HasMore = hasMore,
            Key = Key,
            Value = target.KeysOnly ? default : Value,
            ModifiedUnixMilliseconds = Stamp,
            ExpiresAtUnixMilliseconds = ExpiresAt,
            PreviousVersion = target.PreviousValues ? PreviousVersion : WatchEvent.UnknownVersion,
            PreviousValue = tellsPrevious ? Previous : default,
        };
    }

    private WatchEvent RangeEvent(in WatchTarget target, bool hasMore)
    {
        ReadOnlyMemory<byte> from = target.Range.From;
        ReadOnlyMemory<byte> to = target.Range.To;
        return new WatchEvent
        {
            Kind = target.IsKey ? WatchEventKind.Remove : WatchEventKind.RemoveRange,
            Version = Version,
            HasMore = hasMore,
            Key = target.IsKey || from.Span.SequenceCompareTo(Key) > 0 ? from : Key,
            To = target.IsKey ? default : to.IsEmpty || (Value.Length > 0 && to.Span.SequenceCompareTo(Value) > 0) ? Value : to,
            ModifiedUnixMilliseconds = Stamp,
            PreviousVersion = WatchEvent.UnknownVersion,
        };
    }
}

/// <summary>What one watcher watches, and what it wants to be told of a change.</summary>
internal readonly record struct WatchTarget(KeyRange Range, bool IsKey, bool PreviousValues, bool KeysOnly)
{
    public static WatchTarget Of(WatchOptions options)
    {
        // The caller's memory may change once the call is over; the watch lasts longer.
        KeyRange range = options.Range;
        var copy = new KeyRange(range.From.ToArray(), range.To.ToArray());
        bool isKey = !options.Key.IsEmpty;
        return new WatchTarget(isKey ? new KeyRange(options.Key.ToArray(), copy.To) : copy, isKey, options.PreviousValues, options.KeysOnly);
    }

    /// <summary>Whether a change concerns it; a bulk load may.</summary>
    public bool Concerns(in ChangeRecord record) => record.Kind switch
    {
        ChangeKind.Load => true,
        ChangeKind.RemoveRange => (record.Value.IsEmpty || Range.From.Span.SequenceCompareTo(record.Value) < 0)
            && (Range.To.IsEmpty || record.Key.SequenceCompareTo(Range.To.Span) < 0),
        _ => Range.Contains(record.Key),
    };
}
