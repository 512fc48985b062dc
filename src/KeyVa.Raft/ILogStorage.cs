namespace KeyVa.Raft;

/// <summary>
/// The part of a group's log that is durable, as the driver keeps it in its journal. The core reads it, and never writes: what
/// is to be written comes out as <see cref="Work"/>. It shows what was reported to <see cref="RaftGroup.Persisted"/>, at least;
/// what it shows beyond is not looked at. Called on the group's caller, so nothing here should wait for long.
/// </summary>
public interface ILogStorage
{
    /// <summary>The first index that can be read; the snapshot's index + 1 at most.</summary>
    long FirstIndex { get; }

    /// <summary>The last index that can be read; <see cref="FirstIndex"/> - 1 if there is none.</summary>
    long LastIndex { get; }

    /// <summary>
    /// The newest durable snapshot, or null while none can be given. At opening it must be there: <see cref="SnapshotMetadata.None"/>
    /// for a node that knows nothing, <see cref="SnapshotMetadata.Initial"/> for the first members of a group.
    /// </summary>
    SnapshotMetadata? Snapshot { get; }

    /// <summary>The term of an entry, known from <see cref="FirstIndex"/> - 1 (what the log stands on) to <see cref="LastIndex"/>.</summary>
    long TermAt(long index);

    /// <summary>
    /// Entries from <paramref name="first"/> on, up to <paramref name="last"/>, inclusive: as many as have
    /// <paramref name="maxBytes"/> (<see cref="Entry.Size"/>), but one at least. They stay as they are for as long as anyone holds them.
    /// </summary>
    ReadOnlyMemory<Entry> Read(long first, long last, long maxBytes);

    /// <summary>All entries of kind <see cref="EntryKind.Membership"/>, in their order; asked once, at opening.</summary>
    IEnumerable<Entry> MembershipEntries();
}
