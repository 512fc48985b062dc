namespace KeyVa.Raft;

/// <summary>
/// What a group wants done, filled by <see cref="RaftGroup.TryTakeWork"/> and reused. The driver, in any order but for what is
/// said here:
/// <list type="number">
/// <item>If <see cref="Number"/> is not 0, makes <see cref="State"/>, <see cref="Snapshot"/> and <see cref="Entries"/> durable, in the order of the numbers (it
/// need not wait for one before it begins the next), and then calls <see cref="RaftGroup.Persisted"/>.</item>
/// <item>Sends <see cref="Messages"/>. Those that lean on something durable are not among them before it is; nothing has to be held back.</item>
/// <item>Applies <see cref="Committed"/>, then calls <see cref="RaftGroup.Applied"/>. The next ones come only then. A snapshot is installed behind what is
/// being applied.</item>
/// <item>Answers <see cref="Reads"/> once their index is applied.</item>
/// </list>
/// </summary>
public sealed class Work
{
    /// <summary>Counts what is to be persisted; 0 if there is nothing.</summary>
    public long Number { get; internal set; }

    /// <summary>Term and vote, if they changed.</summary>
    public HardState? State { get; internal set; }

    /// <summary>A snapshot that takes the place of the whole log.</summary>
    public SnapshotMetadata? Snapshot { get; internal set; }

    /// <summary>What to append. The first one's index supersedes that index and everything behind it.</summary>
    public ReadOnlyMemory<Entry> Entries { get; internal set; }

    /// <summary>What to send now.</summary>
    public List<Message> Messages { get; } = [];

    /// <summary>What to apply now: committed, and durable here.</summary>
    public ReadOnlyMemory<Entry> Committed { get; internal set; }

    /// <summary>Reads that are decided.</summary>
    public List<ConfirmedRead> Reads { get; } = [];

    internal bool IsEmpty => Number == 0 && Messages.Count == 0 && Committed.IsEmpty && Reads.Count == 0;

    internal void Clear()
    {
        Number = 0;
        State = null;
        Snapshot = null;
        Entries = default;
        Messages.Clear();
        Committed = default;
        Reads.Clear();
    }
}
