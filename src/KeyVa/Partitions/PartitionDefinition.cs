namespace KeyVa.Partitions;

/// <summary>What the catalog keeps of a partition.</summary>
internal sealed record PartitionDefinition(long Id, KeyRange Range, EngineKind Engine, bool IsVolatile);
