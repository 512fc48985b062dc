namespace KeyVa;

/// <summary>When a write counts as done. What each may lose stands in docs/durability.md.</summary>
public enum Durability : byte
{
    /// <summary>After fdatasync of the journal; concurrent writes share one. The default: loses nothing acknowledged.</summary>
    Always = 0,

    /// <summary>After the write to the operating system; the journal is synced every <see cref="StoreOptions.SyncInterval"/>. Power loss may take that much.</summary>
    Interval = 1,

    /// <summary>After the write to the operating system; never synced but by the system. Survives a kill of the process, not a power loss.</summary>
    Os = 2,
}
