namespace KeyVa.Engines.Memory;

/// <summary>Goes through the chains of all keys: the hash index has no order that would lead to a range, nor one by version.</summary>
internal sealed class ChainScan(HashIndex index, KeyRange range, long after, long upTo) : VersionScan
{
    private readonly HistoryCursor _cursor = new(index, upTo, after, retained: 0);

    public override ReadOnlySpan<byte> Key => _cursor.Key;

    public override ReadOnlySpan<byte> Value => _cursor.Entry.Value;

    public override long Version => _cursor.Entry.Version;

    public override long Stamp => _cursor.Entry.Stamp;

    public override long ExpiresAt => _cursor.Entry.ExpiresAt;

    public override bool IsRemoval => _cursor.Entry.IsRemoval;

    public override bool MoveNext()
    {
        // The newest version at or below the lower one is the last of each chain, and is left out.
        while (_cursor.MoveNext())
        {
            if (_cursor.Entry.Version > after && range.Contains(_cursor.Key))
            {
                return true;
            }
        }

        return false;
    }

    public override void Dispose() => _cursor.Dispose();
}
