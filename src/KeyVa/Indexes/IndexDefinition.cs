namespace KeyVa.Indexes;

/// <summary>What an index is of. Immutable.</summary>
public sealed record IndexDefinition
{
    /// <summary>Its name: 1 to 64 letters, digits, dots, hyphens and underscores.</summary>
    public required string Name { get; init; }

    /// <summary>
    /// The fields of the JSON values that it orders by, 1 to 8 paths: <c>customer.name</c>, <c>lines[0].price</c>, <c>tags[*]</c>
    /// (every element; one field at most). With an extractor: what its values are called.
    /// </summary>
    public required IReadOnlyList<string> Fields { get; init; }

    /// <summary>
    /// No two records of the store may have the same values in all fields; a record with a null among them, or without one of them,
    /// is not compared.
    /// </summary>
    public bool Unique { get; init; }

    /// <summary>Records in which one of the fields is missing are left out; otherwise a missing field counts as null.</summary>
    public bool Sparse { get; init; }

    /// <summary>
    /// A write whose value cannot be indexed is refused with <see cref="Status.NotIndexable"/>; otherwise it is stored, is in no
    /// answer of the index, and <see cref="IndexInfo.Unindexed"/> counts it.
    /// </summary>
    public bool Strict { get; init; }

    /// <summary>The name of an <see cref="IndexExtractor"/> that reads the values in place of the paths; null: none.</summary>
    public string? Extractor { get; init; }

    /// <summary>The version of the extractor.</summary>
    public int ExtractorVersion { get; init; }
}
