using KeyVa.Engines;

namespace KeyVa.Indexes;

/// <summary>
/// A pass over a partition's files and then over those of its indexes, which stay pinned until their turn is over: one that is dropped
/// meanwhile keeps its files for so long.
/// </summary>
internal sealed class IndexScrub : ScrubPass
{
    private readonly Queue<PartitionIndex> _indexes = [];
    private ScrubPass? _pass;
    private PartitionIndex? _index;

    public IndexScrub(ScrubPass? primary, PartitionIndexes indexes)
    {
        _pass = primary;
        foreach (PartitionIndex index in indexes.All)
        {
            if (index.TryPin())
            {
                _indexes.Enqueue(index);
            }
        }
    }

    public override bool Step(long bytes, Action<CorruptionException> found, out long read)
    {
        read = 0;
        if (_pass is not null && _pass.Step(bytes, found, out read))
        {
            return true;
        }

        EndPass();
        if (!_indexes.TryDequeue(out _index))
        {
            return false;
        }

        _pass = _index.Companion.BeginScrub();
        return true;
    }

    public override void Dispose()
    {
        EndPass();
        while (_indexes.TryDequeue(out PartitionIndex? index))
        {
            index.Unpin();
        }
    }

    private void EndPass()
    {
        _pass?.Dispose();
        _pass = null;
        _index?.Unpin();
        _index = null;
    }
}
