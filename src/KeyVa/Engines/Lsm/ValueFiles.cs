using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>The value files that the tables of a superversion lead to. Immutable.</summary>
internal sealed unsafe class ValueFiles
{
    public static readonly ValueFiles None = new([]);

    private readonly Dictionary<long, ValueFile> _files;

    public ValueFiles(IEnumerable<ValueFile> files) => _files = files.ToDictionary(file => file.Id);

    public IReadOnlyCollection<ValueFile> All => _files.Values;

    public ValueFile? TryGet(long id) => _files.GetValueOrDefault(id);

    public ValueFile Get(in ValueReference reference) => _files.TryGetValue(reference.File, out ValueFile? file)
        ? file
        : throw new CorruptionException(FileNames.Values(reference.File), reference.Offset, "an entry leads to a value file that the manifest does not name");

    /// <summary>Puts the value in place of the reference to it. Valid while the caller stays inside its epoch.</summary>
    public void Resolve(ref BlockEntry entry, scoped ReadOnlySpan<byte> key)
    {
        ReadOnlySpan<byte> value = Read(new ReadOnlySpan<byte>(entry.Value, entry.ValueLength), key, entry.Version);
        fixed (byte* bytes = value)
        {
            // Native memory: it stays where it is.
            entry.Value = bytes;
        }

        entry.ValueLength = value.Length;
        entry.Kind = EntryKind.Value;
    }

    /// <summary>The value that a reference of (key, version) leads to. Valid while the caller stays inside its epoch.</summary>
    public ReadOnlySpan<byte> Read(scoped ReadOnlySpan<byte> encoded, scoped ReadOnlySpan<byte> key, long version)
    {
        ValueReference reference = Decode(encoded);
        return Get(reference).Reader.Read(reference, key, version);
    }

    /// <summary>Appends the value that a reference of (key, version) leads to, so that it stays when the epoch has ended.</summary>
    public void CopyTo(NativeBuffer output, ReadOnlySpan<byte> encoded, ReadOnlySpan<byte> key, long version, bool fillCache)
    {
        if (fillCache)
        {
            Epochs.Enter();
            try
            {
                output.Append(Read(encoded, key, version));
            }
            finally
            {
                Epochs.Exit();
            }

            return;
        }

        ValueReference reference = Decode(encoded);
        ValueFileReader reader = Get(reference).PinReader();
        Block* block = null;
        try
        {
            block = reader.ReadAlone(reference, key, version);
            output.Append(ValueFileReader.ValueOf(block, reference));
        }
        finally
        {
            Block.Free(block);
            reader.Unpin();
        }
    }

    /// <summary>A reference out of a table whose checksum fits: what it says is checked against the file it leads to.</summary>
    public static ValueReference Decode(ReadOnlySpan<byte> encoded) => ValueReference.Decode(encoded, "a table");
}
