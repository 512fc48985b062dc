using KeyVa.Engines;
using KeyVa.Indexes;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// One way through the files of an open store: the journal, then one partition after the other, each with its indexes, a bounded piece at a time.
/// Partitions that go meanwhile are left out. One thread at a time.
/// </summary>
/// <param name="registry">Where the partitions are found when their turn comes.</param>
/// <param name="journal">Null: leaves the journal out.</param>
/// <param name="partitions">Which, in this order.</param>
internal sealed class ScrubWalk(PartitionRegistry registry, Journal? journal, IEnumerable<long> partitions) : IDisposable
{
    private readonly Queue<long> _partitions = new(partitions);
    private ScrubPass? _pass = journal?.BeginScrub();
    private Partition? _partition;

    /// <summary>Reads about so many bytes on; false at the end.</summary>
    public bool Step(long piece, Action<CorruptionException> found, out long read)
    {
        read = 0;
        bool more = false;

        // Pinned for the piece alone: a removal does not wait for a whole pass.
        if (_partition is null || _partition.TryPin())
        {
            more = _pass is not null && _pass.Step(piece, found, out read);
            _partition?.Unpin();
        }

        if (!more)
        {
            Dispose();
            more = TryNext();
        }

        return more;
    }

    public void Dispose()
    {
        _pass?.Dispose();
        _pass = null;
        _partition = null;
    }

    private bool TryNext()
    {
        while (_partitions.TryDequeue(out long id))
        {
            if (registry.Map.TryFind(id, out Partition? partition) && partition.TryPin())
            {
                _partition = partition;
                _pass = new IndexScrub(partition.Engine.BeginScrub(), partition.Indexes);
                partition.Unpin();
                return true;
            }
        }

        return false;
    }
}
