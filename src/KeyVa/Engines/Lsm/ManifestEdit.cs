using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>A table as the manifest names it.</summary>
internal sealed record ManifestTable(int Level, long Id, long FileBytes, TableProperties Properties);

/// <summary>One step of the engine's files from one state to the next; a record of the manifest.</summary>
/// <remarks>
/// <code>
/// fields, each: tag varint, then varints
///   1 mark      index, version, stamp       what the tables contain after this edit
///   2 add       level, id, fileBytes, length, properties (see TableProperties)
///   3 remove    level, id
///   4 nextId    the next file number, above all in use
///   5 pointer   level, length, key          where the next compaction of the level continues
///   6 values    id, fileBytes, recordBytes, records       a value file; from format version 2 on, as the next
///   7 drop      id                          a value file that no table leads to any more
///   8 history   from, count, countedFrom    what the tables have forgotten (see HistoryFloor); from format version 3 on, where versions are retained
/// </code>
/// </remarks>
internal sealed class ManifestEdit
{
    public LogMark? Mark { get; set; }

    public HistoryMark? History { get; set; }

    public List<ManifestTable> Added { get; } = [];

    public List<(int Level, long Id)> Removed { get; } = [];

    public List<ManifestValueFile> AddedValues { get; } = [];

    public List<long> RemovedValues { get; } = [];

    public long NextId { get; set; }

    public List<(int Level, byte[] Key)> Pointers { get; } = [];

    public void Encode(NativeBuffer output)
    {
        if (Mark is LogMark mark)
        {
            Append(output, 1, mark.Index, mark.Version, mark.Stamp);
        }

        using NativeBuffer properties = new();
        foreach (ManifestTable table in Added)
        {
            properties.Clear();
            table.Properties.Encode(properties);
            Append(output, 2, table.Level, table.Id, table.FileBytes, properties.Length);
            output.Append(properties.Written);
        }

        foreach ((int level, long id) in Removed)
        {
            Append(output, 3, level, id);
        }

        if (NextId != 0)
        {
            Append(output, 4, NextId);
        }

        foreach ((int level, byte[] key) in Pointers)
        {
            Append(output, 5, level, key.Length);
            output.Append(key);
        }

        foreach (ManifestValueFile file in AddedValues)
        {
            Append(output, 6, file.Id, file.FileBytes, file.RecordBytes, file.Records);
        }

        foreach (long id in RemovedValues)
        {
            Append(output, 7, id);
        }

        if (History is HistoryMark history)
        {
            Append(output, 8, history.From, history.Count, history.CountedFrom);
        }
    }

    /// <summary>Null if the bytes are not an edit.</summary>
    public static ManifestEdit? TryDecode(ReadOnlySpan<byte> source)
    {
        ManifestEdit edit = new();
        while (source.Length > 0)
        {
            if (!TryRead(ref source, out long tag) || !edit.TryDecodeField(tag, ref source))
            {
                return null;
            }
        }

        return edit;
    }

    private bool TryDecodeField(long tag, ref ReadOnlySpan<byte> source)
    {
        switch (tag)
        {
            case 1:
                bool marked = TryRead(ref source, out long index) & TryRead(ref source, out long version) & TryRead(ref source, out long stamp);
                Mark = new LogMark(index, version, stamp);
                return marked;
            case 2:
                return TryDecodeTable(ref source);
            case 3:
                bool removed = TryReadLevel(ref source, out int level) & TryRead(ref source, out long id);
                Removed.Add((level, id));
                return removed;
            case 4:
                bool numbered = TryRead(ref source, out long next);
                NextId = next;
                return numbered;
            case 5:
                if (!TryReadLevel(ref source, out int pointerLevel) || !TryRead(ref source, out long length) || (ulong)length > (ulong)source.Length)
                {
                    return false;
                }

                Pointers.Add((pointerLevel, source[..(int)length].ToArray()));
                source = source[(int)length..];
                return true;
            case 6:
                bool added = TryRead(ref source, out long file) & TryRead(ref source, out long fileBytes)
                    & TryRead(ref source, out long recordBytes) & TryRead(ref source, out long records);
                AddedValues.Add(new ManifestValueFile(file, fileBytes, recordBytes, records));
                return added;
            case 7:
                bool dropped = TryRead(ref source, out long gone);
                RemovedValues.Add(gone);
                return dropped;
            case 8:
                bool told = TryRead(ref source, out long from) & TryRead(ref source, out long count) & TryRead(ref source, out long countedFrom);
                History = new HistoryMark(from, (int)count, countedFrom);
                return told && count is >= 0 and <= int.MaxValue;
            default:
                return false;
        }
    }

    private bool TryDecodeTable(ref ReadOnlySpan<byte> source)
    {
        if (!TryReadLevel(ref source, out int level) || !TryRead(ref source, out long id) || !TryRead(ref source, out long fileBytes)
            || !TryRead(ref source, out long length) || (ulong)length > (ulong)source.Length)
        {
            return false;
        }

        TableProperties? properties = TableProperties.TryDecode(source[..(int)length]);
        if (properties is null)
        {
            return false;
        }

        Added.Add(new ManifestTable(level, id, fileBytes, properties));
        source = source[(int)length..];
        return true;
    }

    private static void Append(NativeBuffer output, params ReadOnlySpan<long> numbers)
    {
        foreach (long number in numbers)
        {
            output.AppendVarint((ulong)number);
        }
    }

    private static bool TryRead(ref ReadOnlySpan<byte> source, out long value)
    {
        int length = Varint.Read(source, out ulong number);
        value = (long)number;
        source = source[length..];
        return length > 0;
    }

    private static bool TryReadLevel(ref ReadOnlySpan<byte> source, out int level)
    {
        bool read = TryRead(ref source, out long value);
        level = (int)value;
        return read && value is >= 0 and < Superversion.Levels;
    }
}
