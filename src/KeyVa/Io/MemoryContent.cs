namespace KeyVa.Io;

/// <summary>A file or folder of a <see cref="MemoryFileSystem"/>. Guarded by its lock.</summary>
internal abstract class MemoryNode
{
    /// <summary>Names it has in the tree the processes see.</summary>
    public int Links { get; set; }
}

/// <summary>A folder: the entries that processes see, and those that a power loss leaves for certain.</summary>
internal sealed class MemoryDirectory : MemoryNode
{
    public Dictionary<string, MemoryNode> Entries { get; } = new(StringComparer.Ordinal);

    public Dictionary<string, MemoryNode> Durable { get; } = new(StringComparer.Ordinal);
}

/// <summary>
/// The bytes of one file, in pages, as processes see them and as the disk holds them for certain. Guarded by the file
/// system's lock. Invariants: (1) a clean page has one array for both views, and nobody writes into it: a write copies it
/// first; (2) a page absent from the table is zero in both views; (3) bytes of the current view past the length are zero.
/// Sparse, so that preallocated segments cost nothing.
/// </summary>
internal sealed class MemoryContent : MemoryNode
{
    private const int PageBytes = 4096;

    // A power loss treats each sector on its own; within one it may stop at any byte.
    private const int SectorBytes = 512;

    private static readonly byte[] Zeros = new byte[PageBytes];

    private readonly Dictionary<long, Page> _pages = [];
    private readonly HashSet<long> _dirty = [];
    private long _durableLength;

    public long Length { get; private set; }

    /// <summary>Open handles.</summary>
    public int Handles { get; set; }

    /// <summary>Bytes counted against the capacity: every byte of the length, holes too, which is stricter than POSIX.</summary>
    public long Charge => Length;

    public int Read(long offset, Span<byte> destination)
    {
        int count = (int)Math.Clamp(Length - offset, 0, destination.Length);
        for (int done = 0; done < count;)
        {
            int within = (int)((offset + done) % PageBytes);
            int part = Math.Min(count - done, PageBytes - within);
            byte[] bytes = _pages.TryGetValue((offset + done) / PageBytes, out Page? page) ? page.Current : Zeros;
            bytes.AsSpan(within, part).CopyTo(destination[done..]);
            done += part;
        }

        return count;
    }

    public void Write(long offset, ReadOnlySpan<byte> data)
    {
        Length = Math.Max(Length, offset + data.Length);
        while (data.Length > 0)
        {
            int within = (int)(offset % PageBytes);
            int part = Math.Min(data.Length, PageBytes - within);
            data[..part].CopyTo(Dirty(offset / PageBytes).AsSpan(within));
            data = data[part..];
            offset += part;
        }
    }

    public void SetLength(long length)
    {
        if (length < Length)
        {
            long first = length / PageBytes;
            foreach (long index in _pages.Keys.Where(index => index >= first).ToList())
            {
                int keep = (int)Math.Clamp(length - (index * PageBytes), 0, PageBytes);
                if (keep < PageBytes)
                {
                    Dirty(index).AsSpan(keep).Clear();
                }
            }
        }

        Length = length;
    }

    public void MarkSynced()
    {
        foreach (long index in _dirty)
        {
            _pages[index].Durable = _pages[index].Current;
        }

        _dirty.Clear();
        _durableLength = Length;
    }

    /// <summary>
    /// What Linux does after a failed write-back: the pages count as clean, so that a later sync succeeds without them.
    /// They are as uncertain as before until somebody writes them again.
    /// </summary>
    public void MarkLost() => _dirty.Clear();

    /// <summary>Flips bits on the medium, unnoticed: in both views.</summary>
    public void Corrupt(long offset, byte mask)
    {
        if (offset >= Length)
        {
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"the file has {Length} bytes");
        }

        Page page = PageAt(offset / PageBytes);
        byte[] current = page.Current;
        page.Current = Flipped(current, (int)(offset % PageBytes), mask);
        page.Durable = ReferenceEquals(page.Durable, current)
            ? page.Current
            : Flipped(page.Durable, (int)(offset % PageBytes), mask);
    }

    /// <summary>The file after a power loss: each unsynced sector old, new, or torn between the two.</summary>
    public MemoryContent AfterPowerLoss(Random random)
    {
        var result = new MemoryContent { Length = SurvivingLength(random) };
        result._durableLength = result.Length;
        foreach (long index in _pages.Keys.Order())
        {
            Page page = _pages[index];
            byte[] bytes = ReferenceEquals(page.Current, page.Durable) ? page.Current : Tear(page, random);
            int keep = (int)Math.Clamp(result.Length - (index * PageBytes), 0, PageBytes);
            if (keep == 0)
            {
                continue;
            }

            if (keep < PageBytes)
            {
                bytes = (byte[])bytes.Clone();
                bytes.AsSpan(keep).Clear();
            }

            result._pages.Add(index, new Page { Current = bytes, Durable = bytes });
        }

        return result;
    }

    /// <summary>The file as processes see it.</summary>
    public MemoryContent AfterKill()
    {
        var result = new MemoryContent { Length = Length, _durableLength = Length };
        foreach ((long index, Page page) in _pages)
        {
            byte[] bytes = ReferenceEquals(page.Current, page.Durable) ? page.Current : (byte[])page.Current.Clone();
            result._pages.Add(index, new Page { Current = bytes, Durable = bytes });
        }

        return result;
    }

    private static byte[] Flipped(byte[] bytes, int offset, byte mask)
    {
        byte[] copy = (byte[])bytes.Clone();
        copy[offset] ^= mask;
        return copy;
    }

    private static byte[] Tear(Page page, Random random)
    {
        byte[] result = (byte[])page.Durable.Clone();
        for (int start = 0; start < PageBytes; start += SectorBytes)
        {
            int cut = random.Next(SectorBytes + 1);
            (int from, int to) = random.Next(4) switch
            {
                0 => (start, start), // old
                1 => (start, start + SectorBytes), // new
                2 => (start, start + cut), // new up to a byte
                _ => (start + cut, start + SectorBytes), // new from a byte on
            };
            page.Current.AsSpan(from..to).CopyTo(result.AsSpan(from));
        }

        return result;
    }

    private long SurvivingLength(Random random) =>
        Length == _durableLength
            ? Length
            : random.Next(3) switch
            {
                0 => _durableLength,
                1 => Length,
                _ => random.NextInt64(Math.Min(Length, _durableLength), Math.Max(Length, _durableLength) + 1),
            };

    private Page PageAt(long index)
    {
        if (!_pages.TryGetValue(index, out Page? page))
        {
            page = new Page { Current = Zeros, Durable = Zeros };
            _pages.Add(index, page);
        }

        return page;
    }

    private byte[] Dirty(long index)
    {
        Page page = PageAt(index);
        if (ReferenceEquals(page.Current, page.Durable))
        {
            page.Current = (byte[])page.Durable.Clone();
        }

        _dirty.Add(index);
        return page.Current;
    }

    private sealed class Page
    {
        public required byte[] Current { get; set; }

        public required byte[] Durable { get; set; }
    }
}
