namespace KeyVa;

/// <summary>What a <see cref="WatchEvent"/> tells of.</summary>
public enum WatchEventKind : byte
{
    /// <summary>
    /// Nothing of the watched keys changed up to <see cref="WatchEvent.Version"/> beyond what was told. The first event of
    /// a watch, and then one every few seconds while nothing else comes: where to resume, and that the other side is alive.
    /// </summary>
    Progress = 0,

    /// <summary>A key was written.</summary>
    Put = 1,

    /// <summary>A key is gone. It may not have been there before: removals that do not look are told like others.</summary>
    Remove = 2,

    /// <summary>
    /// Every key of [<see cref="WatchEvent.Key"/>, <see cref="WatchEvent.To"/>) is gone, but for what has a later event; told to
    /// watchers of more than one key, cut to what they watch. An empty bound is open.
    /// </summary>
    RemoveRange = 3,
}

/// <summary>One change, or a sign of progress. The memory is the event's own, shared with others who see it: do not write to it.</summary>
public readonly struct WatchEvent
{
    /// <summary><see cref="PreviousVersion"/> of a key whose state before is not known.</summary>
    public const long UnknownVersion = -1;

    /// <summary>What happened.</summary>
    public WatchEventKind Kind { get; init; }

    /// <summary>The version of the change. Never falls; the changes of one batch or transaction have the same.</summary>
    public long Version { get; init; }

    /// <summary>
    /// Whether the next event belongs to the same version. A reader that resumes behind an event for which this holds would miss
    /// the rest of its version.
    /// </summary>
    public bool HasMore { get; init; }

    /// <summary>The key, or where the removed range begins.</summary>
    public ReadOnlyMemory<byte> Key { get; init; }

    /// <summary>The end of the removed range.</summary>
    public ReadOnlyMemory<byte> To { get; init; }

    /// <summary>The new value.</summary>
    public ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>When the change was accepted, in milliseconds since 1970-01-01 UTC.</summary>
    public long ModifiedUnixMilliseconds { get; init; }

    /// <summary>When the key expires, in milliseconds since 1970-01-01 UTC; 0: never. There is no event at that moment.</summary>
    public long ExpiresAtUnixMilliseconds { get; init; }

    /// <summary>
    /// The version that the key had before; 0: it was not there; <see cref="UnknownVersion"/>: not known, since it was not asked for
    /// when the change was made, or a range was removed.
    /// </summary>
    public long PreviousVersion { get; init; }

    /// <summary>The value that the key had before; empty unless <see cref="PreviousVersion"/> is above 0.</summary>
    public ReadOnlyMemory<byte> PreviousValue { get; init; }
}
