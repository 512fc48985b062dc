using System.Runtime.CompilerServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>A table of the engine: what the manifest knows of it, and its reader while it is open.</summary>
internal sealed unsafe class SsTable
{
    // Immutable. The bounds are in pinned arrays, so that they can be compared through pointers.
    private readonly byte[] _smallest;
    private readonly byte[] _largest;
    private readonly IFileSystem _files;
    private readonly BlockCache _cache;
    private readonly int _maxOpenTables;
    private readonly CompressionLibraries _libraries;

    // Shared: written under the lock on this table or the table cache's, read by anyone inside an epoch.
    private TableReader? _reader;

    // Any of those that threads make at once will do.
    private SsTable[]? _alone;

    // Shared: set once, the same by whoever sets it.
    private RangeTombstones? _ranges;

    public SsTable(long id, string directory, long fileBytes, TableProperties properties, EngineContext context)
    {
        Id = id;
        Path = System.IO.Path.Combine(directory, FileNames.Table(id));
        FileBytes = fileBytes;
        Properties = properties;
        _smallest = KeyOrder.Pin(properties.Smallest);
        _largest = KeyOrder.Pin(properties.Largest);
        SmallestHead = KeyOrder.Head(SmallestKey, properties.Smallest.Length);
        LargestHead = KeyOrder.Head(LargestKey, properties.Largest.Length);
        _files = context.FileSystem;
        _cache = context.BlockCache;
        _maxOpenTables = context.Options.MaxOpenTables;
        _libraries = context.Options.CompressionLibraries;
    }

    /// <summary>Rises with every file: of two tables of level 0 the one with the higher id is newer.</summary>
    public long Id { get; }

    public string Path { get; }

    public long FileBytes { get; }

    public TableProperties Properties { get; }

    public ulong SmallestHead { get; }

    public ulong LargestHead { get; }

    public ReadOnlySpan<byte> Smallest => Properties.Smallest;

    public ReadOnlySpan<byte> Largest => Properties.Largest;

    /// <summary>A run of this table alone.</summary>
    public SsTable[] Alone => _alone ??= [this];

    public bool HasRanges => Properties.RangeTombstones > 0;

    /// <summary>Its range tombstones, null if it has none. Kept once read, also while the table is not open: they are small.</summary>
    public RangeTombstones? Ranges
    {
        get => !HasRanges ? null : Volatile.Read(ref _ranges) ?? LoadRanges();
        init => _ranges = value;
    }

    /// <summary>How many superversions hold it; guarded by the engine's lock.</summary>
    public int References { get; set; }

    /// <summary>An input of a running compaction; guarded by the engine's lock.</summary>
    public bool BeingCompacted { get; set; }

    /// <summary>The manifest no longer has it: its file goes with its last reference. Guarded by the engine's lock.</summary>
    public bool Obsolete { get; set; }

    /// <summary>The reader if the table is open.</summary>
    public TableReader? PeekReader => Volatile.Read(ref _reader);

    /// <summary>The reader, opened if need be. The caller is inside an epoch and stays there while it uses it.</summary>
    public TableReader Reader
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            TableReader? reader = Volatile.Read(ref _reader);
            if (reader is null)
            {
                return OpenReader();
            }

            if (!reader.Referenced)
            {
                reader.Referenced = true;
            }

            return reader;
        }
    }

    private byte* SmallestKey => KeyOrder.Address(_smallest);

    private byte* LargestKey => KeyOrder.Address(_largest);

    /// <summary>The tables that have entries: there are those with range tombstones alone, which sources cannot stand in.</summary>
    public static SsTable[] WithEntries(SsTable[] tables) =>
        Array.TrueForAll(tables, table => table.Properties.Entries > 0) ? tables : Array.FindAll(tables, table => table.Properties.Entries > 0);

    public void ForgetReader() => Volatile.Write(ref _reader, null);

    /// <summary>The reader, pinned until <see cref="TableReader.Unpin"/>.</summary>
    public TableReader PinReader()
    {
        Epochs.Enter();
        try
        {
            TableReader reader;
            do
            {
                reader = Reader;
            }
            while (!reader.TryPin());

            return reader;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsAtOrBehindSmallest(byte* key, int keyLength, ulong head) =>
        head != SmallestHead ? head > SmallestHead : KeyOrder.CompareTails(key, keyLength, SmallestKey, Properties.Smallest.Length) >= 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool IsAtOrBeforeLargest(byte* key, int keyLength, ulong head) =>
        head != LargestHead ? head < LargestHead : KeyOrder.CompareTails(key, keyLength, LargestKey, Properties.Largest.Length) <= 0;

    /// <summary>Whether the table may have keys of [smallest, largest].</summary>
    public bool Overlaps(ReadOnlySpan<byte> smallest, ReadOnlySpan<byte> largest) =>
        KeyOrder.Compare(Largest, smallest) >= 0 && KeyOrder.Compare(Smallest, largest) <= 0;

    private RangeTombstones LoadRanges()
    {
        TableReader reader = PinReader();
        RangeTombstones ranges = reader.Ranges ?? throw new CorruptionException(Path, 0, "the manifest says it has range tombstones, and it has none");
        Volatile.Write(ref _ranges, ranges);
        reader.Unpin();
        return ranges;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private TableReader OpenReader()
    {
        TableReader? reader;
        lock (this)
        {
            reader = Volatile.Read(ref _reader);
            if (reader is not null)
            {
                return reader;
            }

            StorageFile file = _files.Open(Path, writable: false);
            if (file.Length != FileBytes)
            {
                long length = file.Length;
                file.Dispose();
                throw new CorruptionException(Path, Math.Min(length, FileBytes), $"the file has {length} bytes, the manifest says {FileBytes}");
            }

            reader = TableReader.Open(file, _cache, _libraries);
            Volatile.Write(ref _reader, reader);
        }

        _cache.Tables.Opened(this, reader, _maxOpenTables);
        return reader;
    }
}
