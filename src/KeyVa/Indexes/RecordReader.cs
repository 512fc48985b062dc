namespace KeyVa.Indexes;

/// <summary>Finds the entries of one index for a record. One thread at a time; used again and again.</summary>
internal sealed class RecordReader
{
    private readonly JsonFields? _json;
    private readonly ExtractEntries? _extract;
    private readonly int _fields;

    /// <summary>The definition was checked, and its extractor is the one it names.</summary>
    public RecordReader(IndexDefinition definition, IndexExtractor? extractor)
    {
        _fields = definition.Fields.Count;
        _extract = extractor?.Extract;
        if (_extract is null)
        {
            _json = new JsonFields([.. definition.Fields.Select(Parse)], definition.Sparse);
        }
    }

    /// <summary>Fills in the record's entries.</summary>
    public void Read(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IndexEntries into)
    {
        into.Begin(_fields);
        if (_json is not null)
        {
            _json.Read(value, into);
        }
        else
        {
            Extract(key, value, into);
        }

        into.End(key, PartitionIndex.UnindexedTag);
    }

    private void Extract(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, IndexEntries into)
    {
        try
        {
            _extract!(key, value, into);
        }
#pragma warning disable CA1031 // The function is the user's: whatever it throws, the log must go on in the same way on every replay.
        catch (Exception)
#pragma warning restore CA1031
        {
            into.Reject();
        }
    }

    private static IndexPath Parse(string field)
    {
        string? refusal = IndexPath.Parse(field, out IndexPath path);
        System.Diagnostics.Debug.Assert(refusal is null, "definitions are checked when they are made and read");
        return path;
    }
}
