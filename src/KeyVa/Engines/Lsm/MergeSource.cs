using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// A sorted run of entries that cursors and compactions merge. The present entry lies in fields, so that a merge compares
/// without calls. One thread. Pointers are valid until the source moves.
/// </summary>
internal abstract unsafe class MergeSource : IDisposable
{
    public bool Valid;
    public EntryKind Kind;
    public int KeyLength;
    public int ValueLength;
    public ulong Head;
    public byte* Key;
    public byte* Value;
    public long Version;
    public long Stamp;
    public long ExpiresAt;

    /// <summary>For cursors: the higher, the older are the entries for a key.</summary>
    public int Ordinal;

    public ReadOnlySpan<byte> KeySpan => new(Key, KeyLength);

    public ReadOnlySpan<byte> ValueSpan => new(Value, ValueLength);

    /// <summary>What to throw if the present entry makes no sense: where it stands. Entries of a memtable always do.</summary>
    public virtual CorruptionException DamageHere(string detail) => throw new UnreachableException(detail);

    public abstract void SeekFirst();

    public abstract void SeekLast();

    /// <summary>Goes to the first entry at or behind (key, version).</summary>
    public abstract void SeekAtOrBehind(byte* key, int keyLength, long version);

    /// <summary>Goes to the last entry before (key, version).</summary>
    public abstract void SeekBefore(byte* key, int keyLength, long version);

    public abstract void Next();

    public abstract void Previous();

    public abstract void Dispose();
}

/// <summary>The entries of a memtable, which the user of the source keeps alive.</summary>
internal sealed unsafe class MemtableSource : MergeSource
{
    private SkipList _list;
    private SkipNode* _node;

    public MemtableSource(SkipList list) => _list = list;

    /// <summary>Lets go of the memtable; <see cref="Reset"/> may follow.</summary>
    public void Close() => Reset(null!);

    /// <summary>Begins anew over another memtable.</summary>
    public void Reset(SkipList list)
    {
        _list = list;
        _node = null;
        Valid = false;
    }

    public override void SeekFirst() => Set(_list.First());

    public override void SeekLast() => Set(_list.Last());

    public override void SeekAtOrBehind(byte* key, int keyLength, long version) =>
        Set(_list.FindAtOrBehind(key, keyLength, KeyOrder.Head(key, keyLength), version));

    public override void SeekBefore(byte* key, int keyLength, long version) =>
        Set(_list.FindBefore(key, keyLength, KeyOrder.Head(key, keyLength), version));

    public override void Next() => Set(SkipList.Next(_node));

    /// <summary>There are no links backward: a search for the entry before.</summary>
    public override void Previous() => SeekBefore(Key, KeyLength, Version);

    public override void Dispose()
    {
    }

    private void Set(SkipNode* node)
    {
        _node = node;
        Valid = node != null;
        if (Valid)
        {
            Head = node->Head;
            Key = SkipNode.Key(node);
            KeyLength = node->KeyLength;
            Value = Key + KeyLength;
            ValueLength = node->ValueLength;
            Version = node->Version;
            Stamp = node->Stamp;
            ExpiresAt = node->ExpiresAt;
            Kind = node->Kind;
        }
    }
}
