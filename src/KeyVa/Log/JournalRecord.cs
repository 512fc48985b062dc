namespace KeyVa.Log;

/// <summary>One record as read back. The spans are valid until the reader returns.</summary>
internal readonly ref struct JournalRecord
{
    public required RecordKind Kind { get; init; }

    public required ReadOnlySpan<LogPosition> Positions { get; init; }

    public required ReadOnlySpan<byte> Payload { get; init; }
}

/// <summary>Receives records in log order.</summary>
internal interface IJournalReader
{
    void Read(in JournalRecord record);

    /// <summary>A segment begins: how far the log of each partition had come before it (<see cref="ReachedEntry"/>).</summary>
    void Reach(ReadOnlySpan<LogPosition> positions)
    {
    }

    /// <summary>
    /// Where a second thread reads ahead (<see cref="GroupsAhead"/>): called on it now and then. What it does there, the reader need not
    /// do. Must not throw.
    /// </summary>
    void PrepareAhead()
    {
    }
}

/// <summary>How <see cref="Journal.Read"/> ended.</summary>
internal readonly record struct JournalReadResult
{
    /// <summary>The index asked for has gone with its segment: nothing was read. See <see cref="OldestIndex"/>.</summary>
    public bool Gone { get; init; }

    /// <summary>The partition's lowest index in the journal; 0 if it has no record there.</summary>
    public long OldestIndex { get; init; }

    /// <summary>Where to go on: one above the last index that was read, or the index asked for if there was none.</summary>
    public long NextIndex { get; init; }

    /// <summary>All that was committed when the call began has been read.</summary>
    public bool AtEnd { get; init; }
}
