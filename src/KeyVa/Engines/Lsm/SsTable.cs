using System.Runtime.CompilerServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>A table of the engine: what the manifest knows of it, and its reader while it is open.</summary>
internal sealed unsafe class SsTable : EngineFile
{
    // Immutable. The bounds are in pinned arrays, so that they can be compared through pointers.
    private readonly byte[] _smallest;
    private readonly byte[] _largest;

    // Shared: written under the lock on this table or the table cache's, read by anyone inside an epoch.
    private TableReader? _reader;

    // Any of those that threads make at once will do.
    private SsTable[]? _alone;

    // Shared: set once, the same by whoever sets it.
    private RangeTombstones? _ranges;

    /// <param name="id">Of two tables of level 0 the one with the higher id is newer.</param>
    /// <param name="directory">Where it is.</param>
    /// <param name="fileBytes">Its length.</param>
    /// <param name="properties">What the manifest says of it.</param>
    /// <param name="context">The engine's.</param>
    public SsTable(long id, string directory, long fileBytes, TableProperties properties, EngineContext context)
        : base(id, System.IO.Path.Combine(directory, FileNames.Table(id)), fileBytes, context)
    {
        Properties = properties;
        _smallest = KeyOrder.Pin(properties.Smallest);
        _largest = KeyOrder.Pin(properties.Largest);
        SmallestHead = KeyOrder.Head(SmallestKey, properties.Smallest.Length);
        LargestHead = KeyOrder.Head(LargestKey, properties.Largest.Length);
    }

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

    /// <summary>An input of a running compaction; guarded by the engine's lock.</summary>
    public bool BeingCompacted { get; set; }

    /// <summary>The reader if the table is open.</summary>
    public TableReader? PeekReader => Volatile.Read(ref _reader);

    public override FileReader? OpenFile => PeekReader;

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

    public override void ForgetReader() => Volatile.Write(ref _reader, null);

    /// <summary>The reader, pinned until <see cref="FileReader.Unpin"/>.</summary>
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

    protected override FileReader Open(StorageFile file, EngineContext context)
    {
        TableReader reader = TableReader.Open(file, context.BlockCache, context.Options.CompressionLibraries);
        Volatile.Write(ref _reader, reader);
        return reader;
    }

    private RangeTombstones LoadRanges()
    {
        TableReader reader = PinReader();
        RangeTombstones ranges = reader.Ranges ?? throw new CorruptionException(Path, 0, "the manifest says it has range tombstones, and it has none");
        Volatile.Write(ref _ranges, ranges);
        reader.Unpin();
        return ranges;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private TableReader OpenReader() => (TableReader)OpenOnce();
}
