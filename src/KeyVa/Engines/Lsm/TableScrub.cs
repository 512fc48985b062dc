namespace KeyVa.Engines.Lsm;

/// <summary>
/// A <see cref="ScrubPass"/> over the tables of an engine, by rising number. A table is opened anew, so that footer, index and
/// filter come from the disk too; while it is read its file stays, even if a compaction deletes it.
/// </summary>
internal sealed unsafe class TableScrub(VersionSet versions, EngineContext context) : ScrubPass
{
    private TableReader? _reader;
    private long _lastId;
    private int _ordinal;

    public override bool Step(long bytes, Action<CorruptionException> found, out long read)
    {
        read = 0;
        while (read < bytes)
        {
            if (_reader is null && !TryOpenNext(found, ref read))
            {
                return false;
            }

            if (_reader is not null)
            {
                ReadBlock(found, ref read);
            }
        }

        return true;
    }

    public override void Dispose()
    {
        _reader?.Dispose();
        _reader = null;
    }

    /// <summary>False if there is no further table; a damaged one is reported and passed over.</summary>
    private bool TryOpenNext(Action<CorruptionException> found, ref long read)
    {
        Superversion superversion = versions.Pin();
        try
        {
            SsTable? next = superversion.Tables.Where(table => table.Id > _lastId).MinBy(static table => table.Id);
            if (next is null)
            {
                return false;
            }

            _lastId = next.Id;
            _ordinal = 0;
            try
            {
                _reader = TableReader.Open(context.FileSystem.Open(next.Path, writable: false), context.BlockCache);
                read += _reader.MemoryBytes;
                _reader.CheckIndex();
            }
            catch (CorruptionException damage)
            {
                found(damage);
                Dispose();
            }
            catch (StorageException failure)
            {
                found(new CorruptionException(next.Path, 0, $"the table cannot be opened: {failure.Message}"));
                Dispose();
            }

            return true;
        }
        finally
        {
            versions.Unpin(superversion);
        }
    }

    private void ReadBlock(Action<CorruptionException> found, ref long read)
    {
        if (_ordinal == _reader!.DataBlocks)
        {
            Dispose();
            return;
        }

        try
        {
            _reader.Locate(_ordinal++, out long offset, out int length);
            read += length;
            Block.Free(_reader.ReadDataBlock(offset, length));
        }
        catch (CorruptionException damage)
        {
            found(damage);
        }
        catch (StorageException failure)
        {
            found(new CorruptionException(_reader.Path, 0, $"the table cannot be read: {failure.Message}"));
            Dispose();
        }
    }
}
