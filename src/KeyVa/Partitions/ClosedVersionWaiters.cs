namespace KeyVa.Partitions;

/// <summary>
/// Readers of several partitions that wait until one of them has made everything up to their version visible.
/// Thread-safe; the common case, nobody waits, costs the writer one volatile read.
/// </summary>
internal sealed class ClosedVersionWaiters
{
    private readonly Lock _lock = new();
    private readonly List<(long Version, TaskCompletionSource Source)> _waiting = [];
    private int _count;
    private StoreException? _failure;

    /// <summary>
    /// A task that ends once <paramref name="isClosed"/> holds for the version, or fails once that can never be.
    /// </summary>
    public Task Add(long version, Func<long, bool> isClosed)
    {
        lock (_lock)
        {
            // Announced before the check: a writer that closes after the check sees the count.
            Interlocked.Increment(ref _count);
            if (isClosed(version))
            {
                Interlocked.Decrement(ref _count);
                return Task.CompletedTask;
            }

            if (_failure is not null)
            {
                Interlocked.Decrement(ref _count);
                return Task.FromException(_failure);
            }

            var source = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add((version, source));
            return source.Task;
        }
    }

    /// <summary>What is not visible by now never will be: whoever waits for it, now or later, is told why.</summary>
    public void Fail(StoreException failure)
    {
        lock (_lock)
        {
            _failure = failure;
            foreach ((_, TaskCompletionSource source) in _waiting)
            {
                source.SetException(failure);
                Interlocked.Decrement(ref _count);
            }

            _waiting.Clear();
        }
    }

    public void Release(Func<long, bool> isClosed)
    {
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _count) == 0)
        {
            return;
        }

        lock (_lock)
        {
            for (int i = _waiting.Count - 1; i >= 0; i--)
            {
                if (isClosed(_waiting[i].Version))
                {
                    _waiting[i].Source.SetResult();
                    _waiting.RemoveAt(i);
                    Interlocked.Decrement(ref _count);
                }
            }
        }
    }
}
