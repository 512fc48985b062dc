using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// The entries of tables that follow one another without overlap: one table of level 0, or a deeper level. Blocks come
/// out of the block cache and are pinned one at a time; or, for compactions, from a forward stream that leaves the cache alone.
/// The tables are kept by the user of the source (a pin on the superversion).
/// </summary>
internal sealed unsafe class TableSource : MergeSource
{
    private readonly BlockStream? _stream;
    private SsTable[] _tables;
    private bool _fillCache = true;
    private ReadAhead _readAhead;
    private int _table = -1;
    private TableReader? _reader;
    private int _ordinal;
    private Block* _block;
    private byte* _entry;
    private byte* _next;
    private byte* _entriesEnd;
    private long _versionBase;
    private long _stampBase;
    private byte* _keyBuffer;
    private int _keyCapacity;

    public TableSource(SsTable[] tables, bool streaming)
    {
        _tables = tables;
        _stream = streaming ? new BlockStream() : null;
        _keyCapacity = 256;
        _keyBuffer = (byte*)NativeMemory.Alloc((nuint)_keyCapacity);
    }

    ~TableSource() => NativeMemory.Free(_keyBuffer);

    /// <summary>Begins anew over other tables; only for a source that does not stream and was closed.</summary>
    public void Reset(SsTable[] tables, bool fillCache)
    {
        Debug.Assert(_stream is null && _reader is null, "what the source held has been let go");
        _tables = tables;
        _fillCache = fillCache;
        _readAhead = default;
    }

    /// <summary>Lets go of tables and blocks; <see cref="Reset"/> may follow.</summary>
    public void Close()
    {
        CloseTable();
        _tables = [];
    }

    public override CorruptionException DamageHere(string detail)
    {
        _reader!.Locate(_ordinal, out long offset, out _);
        return new CorruptionException(_reader.Path, offset, detail);
    }

    public override void SeekFirst()
    {
        _readAhead.Restart();
        OpenTable(0);
        FirstOfBlock(0);
    }

    public override void SeekLast()
    {
        _readAhead.Restart();
        OpenTable(_tables.Length - 1);
        LastOfBlock(_reader!.DataBlocks - 1);
    }

    public override void SeekAtOrBehind(byte* key, int keyLength, long version)
    {
        _readAhead.Restart();
        int table = FindTable(key, keyLength);
        if (table == _tables.Length)
        {
            End();
            return;
        }

        OpenTable(table);
        int ordinal = _reader!.FindOrdinal(key, keyLength, version);
        if (ordinal == _reader.DataBlocks)
        {
            NextTable();
            return;
        }

        OpenBlock(ordinal);
        _next = BlockSearch.RestartAt(_block, BlockSearch.FindInterval(_block, key, keyLength, version, _versionBase));
        do
        {
            Next();
        }
        while (Valid && IsBefore(key, keyLength, version));
    }

    public override void SeekBefore(byte* key, int keyLength, long version)
    {
        SeekAtOrBehind(key, keyLength, version);
        if (Valid)
        {
            Previous();
        }
        else
        {
            SeekLast();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public override void Next()
    {
        if (_next < _entriesEnd)
        {
            Load(_next);
        }
        else
        {
            NextBlock();
        }
    }

    public override void Previous()
    {
        byte* data = Block.Data(_block);
        if (_entry == data)
        {
            if (_ordinal > 0)
            {
                LastOfBlock(_ordinal - 1);
            }
            else if (_table > 0)
            {
                OpenTable(_table - 1);
                LastOfBlock(_reader!.DataBlocks - 1);
            }
            else
            {
                End();
            }

            return;
        }

        LoadLastBefore(_entry);
    }

    public override void Dispose()
    {
        CloseTable();
        _stream?.Dispose();
        NativeMemory.Free(_keyBuffer);
        _keyBuffer = null;
        GC.SuppressFinalize(this);
    }

    private int FindTable(byte* key, int keyLength)
    {
        ulong head = KeyOrder.Head(key, keyLength);
        int low = 0;
        int high = _tables.Length;
        while (low < high)
        {
            int middle = (low + high) >> 1;
            if (_tables[middle].IsAtOrBeforeLargest(key, keyLength, head))
            {
                high = middle;
            }
            else
            {
                low = middle + 1;
            }
        }

        return low;
    }

    private bool IsBefore(byte* key, int keyLength, long version)
    {
        int order = KeyOrder.Compare(Key, KeyLength, key, keyLength);
        return order != 0 ? order < 0 : Version > version;
    }

    private void NextBlock()
    {
        if (_ordinal + 1 < _reader!.DataBlocks)
        {
            FirstOfBlock(_ordinal + 1);
        }
        else
        {
            NextTable();
        }
    }

    private void NextTable()
    {
        if (_table + 1 < _tables.Length)
        {
            OpenTable(_table + 1);
            FirstOfBlock(0);
        }
        else
        {
            End();
        }
    }

    private void FirstOfBlock(int ordinal)
    {
        OpenBlock(ordinal);
        Load(_next);
    }

    private void LastOfBlock(int ordinal)
    {
        OpenBlock(ordinal);
        LoadLastBefore(_entriesEnd);
    }

    /// <summary>Loads the entry that ends where another (or the block) begins: from the restart before it, forward.</summary>
    private void LoadLastBefore(byte* end)
    {
        byte* data = Block.Data(_block);
        int low = 0;
        int high = _block->Restarts - 1;
        while (low < high)
        {
            int middle = (low + high + 1) >> 1;
            if (BlockSearch.RestartAt(_block, middle) < end)
            {
                low = middle;
            }
            else
            {
                high = middle - 1;
            }
        }

        _next = BlockSearch.RestartAt(_block, low);
        Debug.Assert(_next >= data && _next < end, "an entry starts before another ends");
        do
        {
            Load(_next);
        }
        while (_next < end);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Load(byte* p)
    {
        BlockFormat.Decode(p, _versionBase, _stampBase, out BlockEntry entry);
        int length = entry.Shared + entry.Unshared;
        if (length > _keyCapacity)
        {
            GrowKey(length);
        }

        Unsafe.CopyBlockUnaligned(_keyBuffer + entry.Shared, entry.Suffix, (uint)entry.Unshared);
        Valid = true;
        Kind = entry.Kind;
        Key = _keyBuffer;
        KeyLength = length;
        if (entry.Shared < 8)
        {
            Head = KeyOrder.Head(_keyBuffer, length);
        }

        Value = entry.Value;
        ValueLength = entry.ValueLength;
        Version = entry.Version;
        Stamp = entry.Stamp;
        ExpiresAt = entry.ExpiresAt;
        _entry = p;
        _next = entry.End;
    }

    private void GrowKey(int length)
    {
        _keyCapacity = Math.Max(length, _keyCapacity * 2);
        _keyBuffer = (byte*)NativeMemory.Realloc(_keyBuffer, (nuint)_keyCapacity);
    }

    private void OpenTable(int table)
    {
        if (table == _table)
        {
            return;
        }

        CloseTable();
        _reader = _tables[table].PinReader();
        _table = table;
        _versionBase = _reader.Properties.VersionBase;
        _stampBase = _reader.Properties.StampBase;
        _readAhead.EnterTable(_reader.DataBlocks);
        _stream?.Open(_reader);
    }

    private void OpenBlock(int ordinal)
    {
        if (_stream is not null)
        {
            _reader!.Locate(ordinal, out long offset, out int length);
            _block = _stream.Get(offset, length);
        }
        else if (_block == null || _ordinal != ordinal)
        {
            Block* block = _reader!.PinCached(ordinal);
            if (block == null)
            {
                block = ReadBlock(ordinal);
            }

            CloseBlock();
            _block = block;
        }

        _ordinal = ordinal;
        _next = Block.Data(_block);
        _entriesEnd = _next + _block->EntriesEnd;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private Block* ReadBlock(int ordinal)
    {
        TableReader reader = _reader!;
        reader.Locate(ordinal, out long offset, out int length);
        _readAhead.Missed(reader, ordinal, offset);
        return reader.ReadPinned(ordinal, offset, length, _fillCache);
    }

    private void End() => CloseTable();

    private void CloseBlock()
    {
        if (_block != null && _stream is null)
        {
            _reader!.Cache.Unpin(_block);
        }

        _block = null;
    }

    private void CloseTable()
    {
        CloseBlock();
        _reader?.Unpin();
        _reader = null;
        _table = -1;
        _next = null;
        _entriesEnd = null;
        Valid = false;
    }
}
