namespace KeyVa.Raft;

/// <summary>What a table of sessions remembers of one client. Owned by its table.</summary>
internal sealed class Session(long client)
{
    public long Client { get; } = client;

    /// <summary>Results of commands up to here are forgotten: whether one of them was applied is not known any more.</summary>
    public long Floor { get; private set; }

    /// <summary>Results by sequence; a few, all above <see cref="Floor"/>.</summary>
    public SortedList<long, ReadOnlyMemory<byte>> Results { get; } = [];

    public void Forget(long sequence)
    {
        Floor = Math.Max(Floor, sequence);
        while (Results.Count > 0 && Results.Keys[0] <= Floor)
        {
            Results.RemoveAt(0);
        }
    }
}
