using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Reads every byte of an engine's files and says what is damaged.</summary>
internal static unsafe class TableVerifier
{
    public static IReadOnlyList<CorruptionException> Verify(EngineContext context, Superversion superversion, CancellationToken cancellation)
    {
        List<CorruptionException> damages = [];
        Collect(damages, () => Manifest.Read(context.FileSystem, context.Directory));
        foreach (SsTable table in superversion.Tables)
        {
            cancellation.ThrowIfCancellationRequested();
            Collect(damages, () => VerifyTable(context, table, damages, cancellation));
        }

        return damages;
    }

    /// <summary>Opens the file anew, so that nothing is taken from memory.</summary>
    public static void VerifyTable(EngineContext context, SsTable table, List<CorruptionException> damages, CancellationToken cancellation)
    {
        StorageFile file = context.FileSystem.Open(table.Path, writable: false);
        using TableReader reader = TableReader.Open(file, context.BlockCache, context.Options.CompressionLibraries);
        Collect(damages, reader.CheckIndex);
        Walk walk = new();
        for (int ordinal = 0; ordinal < reader.DataBlocks; ordinal++)
        {
            cancellation.ThrowIfCancellationRequested();
            int block = ordinal;
            Collect(damages, () => walk.Block(reader, block));
        }

        if (!walk.HasDamage)
        {
            Collect(damages, () => walk.Compare(table, reader.Ranges));
        }
    }

    private static void Collect(List<CorruptionException> damages, Action check)
    {
        try
        {
            check();
        }
        catch (CorruptionException damage)
        {
            damages.Add(damage);
        }
    }

    private static void Collect(List<CorruptionException> damages, Func<object?> check) => Collect(damages, () => { check(); });

    /// <summary>Goes over a table's entries, checking their order, and counts them.</summary>
    private sealed class Walk
    {
        private byte[] _key = [];
        private byte[] _first = [];
        private long _version;
        private long _entries;
        private long _tombstones;

        public bool HasDamage { get; private set; }

        public void Block(TableReader reader, int ordinal)
        {
            bool before = HasDamage;
            HasDamage = true;
            reader.Locate(ordinal, out long offset, out int length);
            Block* block = reader.ReadDataBlock(offset, length);
            try
            {
                Entries(reader, block, offset);
            }
            finally
            {
                Lsm.Block.Free(block);
            }

            HasDamage = before;
        }

        public void Compare(SsTable table, RangeTombstones? ranges)
        {
            TableProperties properties = table.Properties;
            if (_entries != properties.Entries || _tombstones != properties.Tombstones)
            {
                throw new CorruptionException(table.Path, 0, $"{_entries} entries, {_tombstones} of them tombstones; the manifest says {properties.Entries} and {properties.Tombstones}");
            }

            TableProperties read = new() { Entries = _entries, Smallest = _first, Largest = _key };
            if (ranges is not null)
            {
                read.Include(ranges);
            }

            if (read.RangeTombstones != properties.RangeTombstones)
            {
                throw new CorruptionException(table.Path, 0, $"{read.RangeTombstones} range tombstones; the manifest says {properties.RangeTombstones}");
            }

            if (!read.Smallest.AsSpan().SequenceEqual(table.Smallest) || !read.Largest.AsSpan().SequenceEqual(table.Largest))
            {
                throw new CorruptionException(table.Path, 0, "its keys do not end where the manifest says");
            }
        }

        private void Entries(TableReader reader, Block* block, long offset)
        {
            byte* data = Lsm.Block.Data(block);
            byte* end = data + block->EntriesEnd;
            for (byte* p = data; p < end;)
            {
                BlockFormat.Decode(p, reader.Properties.VersionBase, reader.Properties.StampBase, out BlockEntry entry);
                if (entry.End > end || entry.Shared > _key.Length)
                {
                    throw new CorruptionException(reader.Path, offset + (p - data), "an entry does not fit its block");
                }

                byte[] key = [.. _key.AsSpan(0, entry.Shared), .. new ReadOnlySpan<byte>(entry.Suffix, entry.Unshared)];
                int order = KeyOrder.Compare(_key, key);
                if (_entries > 0 && (order > 0 || (order == 0 && _version <= entry.Version)))
                {
                    throw new CorruptionException(reader.Path, offset + (p - data), "entries are not in order");
                }

                _first = _entries == 0 ? key : _first;
                _key = key;
                _version = entry.Version;
                _entries++;
                _tombstones += entry.Kind == EntryKind.Tombstone ? 1 : 0;
                p = entry.End;
            }
        }
    }
}
