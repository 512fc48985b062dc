namespace KeyVa;

/// <summary>What to watch. The default is every key, from now on.</summary>
public sealed record WatchOptions
{
    /// <summary>How many events wait for a reader unless said otherwise.</summary>
    public const int DefaultQueuedEvents = 1024;

    /// <summary>How many bytes wait for a reader unless said otherwise.</summary>
    public const int DefaultQueuedBytes = 256 << 10;

    /// <summary>Only this key; then Prefix, From and To are empty. Empty: see these.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>Only keys that begin with this; then From and To are empty.</summary>
    public ReadOnlyMemory<byte> Prefix { get; init; }

    /// <summary>The first key of the range, inclusive; empty: open.</summary>
    public ReadOnlyMemory<byte> From { get; init; }

    /// <summary>The end of the range, exclusive; empty: open.</summary>
    public ReadOnlyMemory<byte> To { get; init; }

    /// <summary>
    /// The first version to tell of: one more than that of the last event seen resumes a watch. 0: from now on, which means
    /// every write that begins after the watch's first event, a <see cref="WatchEventKind.Progress"/>.
    /// </summary>
    public long StartVersion { get; init; }

    /// <summary>Tell with each change what it replaced. Costs the writer a read of each key that is watched so.</summary>
    public bool PreviousValues { get; init; }

    /// <summary>Leave the values out.</summary>
    public bool KeysOnly { get; init; }

    /// <summary>
    /// Events that wait for the reader, at most (and the rest of a version whose first event found room). A reader that
    /// is further behind reads from the changes that the store keeps (<see cref="StoreOptions.WatchHistoryBytes"/>), and if it
    /// falls behind these as well its watch ends with <see cref="CompactedException"/>. Default: 1024.
    /// </summary>
    public int MaxQueuedEvents { get; init; } = DefaultQueuedEvents;

    /// <summary>The same in bytes of keys and values. Default: 256 KiB.</summary>
    public int MaxQueuedBytes { get; init; } = DefaultQueuedBytes;

    /// <summary>The keys that are watched; a single key's range ends right behind it.</summary>
    internal KeyRange Range
    {
        get
        {
            if (!Key.IsEmpty)
            {
                byte[] end = new byte[Key.Length + 1];
                Key.CopyTo(end);
                return new KeyRange(Key, end);
            }

            return Prefix.IsEmpty ? new KeyRange(From, To) : KeyRange.WithPrefix(Prefix);
        }
    }
}
