namespace KeyVa.Indexes;

/// <summary>A record that an index query has found. The memory is its own.</summary>
public readonly struct IndexedRecord
{
    /// <summary>The record; of a query for keys only, the key alone.</summary>
    public Record Record { get; init; }

    /// <summary>The indexed values under which it was found.</summary>
    public IReadOnlyList<IndexValue> Fields { get; init; }

    /// <summary>The place of this record, for a query that goes on behind it (<see cref="IndexQuery.After"/>).</summary>
    public ReadOnlyMemory<byte> ResumeToken { get; init; }

    /// <summary>What a cursor stands on.</summary>
    internal static IndexedRecord Of(IndexCursor cursor) => new()
    {
        Record = new Record
        {
            Key = cursor.Key.ToArray(),
            Value = cursor.Value.ToArray(),
            Version = cursor.Version,
            ModifiedUnixMilliseconds = cursor.ModifiedUnixMilliseconds,
            ExpiresAtUnixMilliseconds = cursor.ExpiresAtUnixMilliseconds,
        },
        Fields = cursor.Fields,
        ResumeToken = cursor.ResumeToken.ToArray(),
    };

    /// <summary>What a cursor goes through; throws <see cref="RefusedException"/> if it was refused.</summary>
    internal static IEnumerable<IndexedRecord> All(IndexCursor cursor, CancellationToken cancellation)
    {
        if (cursor.Status != Status.Ok)
        {
            throw new RefusedException(cursor.Status, cursor.Detail!);
        }

        while (cursor.MoveNext())
        {
            cancellation.ThrowIfCancellationRequested();
            yield return Of(cursor);
        }
    }
}
