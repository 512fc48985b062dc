using System.Runtime.InteropServices;
using KeyVa.Engines;

namespace KeyVa.Watches;

/// <summary>
/// The memory of all change logs of a store: a bound in bytes for all of them together. When it is reached, the oldest
/// chunk of any log goes, unless it is a log's last one.
/// </summary>
/// <remarks>
/// Thread-safe. A writer takes the lock once per chunk, a reader once per chunk that it moves to. Invariants.
/// 1. A chunk is linked, or evicted; its memory goes (or is used again) when it is evicted and nobody has it pinned.
/// 2. Evicting a chunk raises its log's floor to the chunk's last version, under the same lock: who finds a chunk by version
///    under the lock finds everything behind that version.
/// 3. What exceeds the bound: a chunk for each log, and the chunks of one group of commands while it is written.
/// </remarks>
internal sealed unsafe class ChangeMemory(long bound, MemoryBudget budget) : IDisposable
{
    /// <summary>A log begins with a small chunk, and each next one is twice as large, up to the largest.</summary>
    private const int SmallestChunk = 4 << 10;
    private const int LargestChunk = 256 << 10;
    private const int ChunksPerBound = 32;

    private readonly Lock _lock = new();
    private readonly List<ChangeLog> _logs = [];
    private readonly int _largest = (int)Math.Clamp(bound / ChunksPerBound, SmallestChunk, LargestChunk);
    private nint _spare;
    private long _used;

    /// <summary>Bytes of all chunks.</summary>
    public long Used => Volatile.Read(ref _used);

    public void Add(ChangeLog log)
    {
        lock (_lock)
        {
            _logs.Add(log);
        }
    }

    /// <summary>Lets go of all that a log has; nobody writes to it any more.</summary>
    public void Remove(ChangeLog log)
    {
        long before;
        long after;
        lock (_lock)
        {
            _logs.Remove(log);
            before = _used;
            while (log.First is not null)
            {
                Evict(log);
            }

            log.Last = null;
            after = _used;
        }

        Account(after - before);
    }

    /// <summary>Writer: a chunk behind the log's last one, with room for so many bytes at least.</summary>
    public ChangeChunk Append(ChangeLog log, int bytes, long version)
    {
        ChangeChunk? last = log.Last;
        int capacity = Math.Max(bytes, Math.Min(_largest, last is null ? SmallestChunk : last.Capacity * 2));
        ChangeChunk chunk;
        long before;
        long after;
        lock (_lock)
        {
            before = _used;
            while (_used + capacity > bound && Oldest() is { } oldest)
            {
                Evict(oldest);
            }

            chunk = new ChangeChunk(capacity, capacity == _largest ? _spare : 0);
            if (capacity == _largest)
            {
                _spare = 0;
            }

            after = _used + capacity;
            Volatile.Write(ref _used, after);
            chunk.FirstVersion = chunk.LastVersion = version;
            if (last is null)
            {
                log.First = chunk;
            }
            else
            {
                Volatile.Write(ref last.Next, chunk);
            }

            log.Last = chunk;
        }

        Account(after - before);
        return chunk;
    }

    /// <summary>
    /// Pins the chunk in which the first change above a version stands, or would stand: null if the log has none yet. False if
    /// changes above the version are gone.
    /// </summary>
    public bool TryPin(ChangeLog log, long after, out ChangeChunk? chunk)
    {
        lock (_lock)
        {
            chunk = null;
            if (log.Floor > after)
            {
                return false;
            }

            chunk = log.First;
            while (chunk is { Next: { } next } && chunk.LastVersion <= after)
            {
                chunk = next;
            }

            if (chunk is not null)
            {
                chunk.Pins++;
            }

            return true;
        }
    }

    /// <summary>Moves a pin from a sealed chunk to the next; false if that is gone, the pin stays then.</summary>
    public bool TryMove(ChangeChunk chunk, out ChangeChunk? next)
    {
        lock (_lock)
        {
            next = chunk.Next;
            if (next is null || next.IsEvicted)
            {
                return false;
            }

            next.Pins++;
            Unpin(chunk);
            return true;
        }
    }

    public void Release(ChangeChunk chunk)
    {
        lock (_lock)
        {
            Unpin(chunk);
        }
    }

    public void Dispose()
    {
        foreach (ChangeLog log in _logs.ToArray())
        {
            Remove(log);
        }

        lock (_lock)
        {
            NativeMemory.Free((void*)_spare);
            _spare = 0;
        }
    }

    /// <summary>Outside the lock: the budget may ask others to give memory back.</summary>
    private void Account(long bytes)
    {
        if (bytes != 0)
        {
            budget.Charge(MemoryKind.Buffers, bytes);
        }
    }

    /// <summary>The log with the oldest chunk that can go: not a log's last one, and nothing of a group that is being written.</summary>
    private ChangeLog? Oldest()
    {
        ChangeLog? oldest = null;
        foreach (ChangeLog log in _logs)
        {
            bool canGo = log.First is { Next: not null } first && first.LastVersion <= log.PublishedVersion;
            if (canGo && (oldest is null || log.First!.LastVersion < oldest.First!.LastVersion))
            {
                oldest = log;
            }
        }

        return oldest;
    }

    private void Evict(ChangeLog log)
    {
        ChangeChunk chunk = log.First!;
        log.First = chunk.Next;
        log.RaiseFloor(chunk.LastVersion);
        chunk.IsEvicted = true;
        if (chunk.Pins == 0)
        {
            Recycle(chunk);
        }

        Volatile.Write(ref _used, _used - chunk.Capacity);
    }

    private void Unpin(ChangeChunk chunk)
    {
        if (--chunk.Pins == 0 && chunk.IsEvicted)
        {
            Recycle(chunk);
        }
    }

    /// <summary>The memory is used again, not the object: readers that stand on its predecessor look whether it was evicted.</summary>
    private void Recycle(ChangeChunk chunk)
    {
        nint memory = chunk.Take();
        if (_spare == 0 && chunk.Capacity == _largest)
        {
            _spare = memory;
        }
        else
        {
            NativeMemory.Free((void*)memory);
        }
    }
}
