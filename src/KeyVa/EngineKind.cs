namespace KeyVa;

/// <summary>Which storage engine holds a partition's state.</summary>
public enum EngineKind : byte
{
    /// <summary>A log-structured merge tree on disk, ordered, larger than memory (O'Neil et al., 1996).</summary>
    Lsm = 1,

    /// <summary>A hash index in memory, unordered, durable through journal and checkpoints.</summary>
    Memory = 2,
}
