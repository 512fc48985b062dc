using System.Diagnostics;
using KeyVa.Engines;
using KeyVa.Partitions;

namespace KeyVa.Transactions;

/// <summary>
/// One partition's part of a transaction's scan: the records of the snapshot with the transaction's writes laid over them. It
/// notes what it has read of the partition, so that the commit can see whether that still holds.
/// </summary>
/// <remarks>
/// <para>Invariants.
/// 1. The partition's cursor stands at most one record ahead of what was returned; everything it has passed is in the digest.
/// 2. What was read is one range from where the cursor was placed to the last record it has met (in its order), or to the end.
///    Placing it anew begins another.</para>
/// <para>The order is that of the partition's engine: by key, in reverse, or by hash.</para>
/// </remarks>
internal sealed class TransactionCursor : EngineCursor
{
    private readonly TransactionScan _scan;
    private readonly EngineCursor _base;
    private readonly WriteSet _writes;
    private readonly WriteOrder _order;
    private readonly bool _byHash;
    private readonly bool _reverse;
    private readonly byte[] _from;
    private readonly byte[] _to;
    private readonly KeyRange _partition;

    // Where the cursor was placed; null: at the beginning of the range.
    private byte[]? _start;

    // The partition's cursor.
    private bool _hasBase;
    private bool _baseEnded;
    private byte[] _lastRead = [];
    private int _lastReadLength;
    private RangeDigest _digest;
    private bool _hasRead;

    // The own writes: the place of the next, as the order was in _orderSeen.
    private int _place;
    private int _orderSeen = -1;

    // The present record.
    private bool _isOwn;
    private byte[] _ownKey = [];
    private int _ownKeyLength;
    private bool _isPlaced;
    private BufferedWrite _own;
    private byte[]? _merged;
    private long _mergedExpiresAt;
    private bool _disposed;

    public TransactionCursor(TransactionScan scan, EngineCursor cursor, Partition partition, ScanPlan plan)
    {
        _scan = scan;
        _base = cursor;
        _writes = scan.Writes;
        _byHash = !partition.Engine.IsOrdered;
        _order = scan.Order(_byHash);
        _reverse = plan.Reverse;
        _partition = partition.Range;
        ReadOnlySpan<byte> ownFrom = _partition.From.Span;
        ReadOnlySpan<byte> ownTo = _partition.To.Span;
        _from = (plan.From.SequenceCompareTo(ownFrom) > 0 ? plan.From : ownFrom).ToArray();
        _to = (plan.To.IsEmpty || (!ownTo.IsEmpty && ownTo.SequenceCompareTo(plan.To) < 0) ? ownTo : plan.To).ToArray();
        if (scan.NotesReads)
        {
            Next = scan.Body.Cursors;
            scan.Body.Cursors = this;
        }
    }

    /// <summary>The transaction's next open cursor.</summary>
    internal TransactionCursor? Next { get; set; }

    public override ReadOnlySpan<byte> Key => _isOwn ? _ownKey.AsSpan(0, _ownKeyLength) : _base.Key;

    public override ReadOnlySpan<byte> Value => _isOwn ? _merged ?? _writes.ValueOf(_own) : _base.Value;

    public override long Version => _isOwn ? 0 : _base.Version;

    public override long Stamp => _isOwn ? 0 : _base.Stamp;

    public override long ExpiresAt => _isOwn ? OwnExpiresAt : _base.ExpiresAt;

    public override bool MoveNext()
    {
        _scan.CheckRuns();
        FindPlace();
        while (true)
        {
            if (!_hasBase && !_baseEnded)
            {
                MoveBase();
            }

            int own = OwnAtPlace();
            if (own < 0 && _baseEnded)
            {
                _isPlaced = false;
                return false;
            }

            int order = own < 0 ? 1 : _baseEnded ? -1 : CompareOwn(own);
            if (order > 0)
            {
                _hasBase = false;
                if (!_writes.IsRangeRemoved(_base.Key))
                {
                    _isOwn = false;
                    _isPlaced = true;
                    return true;
                }

                continue;
            }

            if (order == 0)
            {
                _hasBase = false;
            }

            if (TakeOwn(own, isStored: order == 0))
            {
                return true;
            }
        }
    }

    public override void Seek(ReadOnlySpan<byte> key)
    {
        NoteRead();
        _start = key.ToArray();
        _base.Seek(key);
        _hasBase = false;
        _baseEnded = false;
        _isPlaced = false;
        _isOwn = false;
        _orderSeen = -1;
    }

    public override void Dispose()
    {
        if (_disposed)
        {
            return;
        }

        _disposed = true;
        NoteRead();
        if (_scan.NotesReads && _scan.IsCurrent)
        {
            Unlink();
        }

        _base.Dispose();
    }

    /// <summary>Tells the transaction what was read since the cursor was placed.</summary>
    public void NoteRead()
    {
        if (!_scan.NotesReads || !_hasRead || !_scan.IsCurrent)
        {
            return;
        }

        ReadOnlySpan<byte> last = _baseEnded ? default : _lastRead.AsSpan(0, _lastReadLength);
        _scan.Body.Reads.Note(_byHash
            ? new RangeCheck { From = _partition.From.Span, To = _partition.To.Span, Digest = _digest, IsByHash = true, First = _start, Last = last }
            : OrderedRead(last));
        _digest = default;
        _hasRead = false;
    }

    private RangeCheck OrderedRead(ReadOnlySpan<byte> last)
    {
        // An inclusive bound, as an exclusive one: the key with a zero byte behind it is the next possible key.
        ReadOnlySpan<byte> start = _start;
        if (!_reverse)
        {
            return new RangeCheck
            {
                From = start.SequenceCompareTo(_from) > 0 ? start : _from.AsSpan(),
                To = last.IsEmpty ? _to.AsSpan() : Behind(last),
                Digest = _digest,
            };
        }

        bool hasStart = _start is not null && (_to.Length == 0 || start.SequenceCompareTo(_to) < 0);
        return new RangeCheck { From = last.IsEmpty ? _from.AsSpan() : last, To = hasStart ? Behind(start) : _to, Digest = _digest };
    }

    private static byte[] Behind(ReadOnlySpan<byte> key)
    {
        byte[] next = new byte[key.Length + 1];
        key.CopyTo(next);
        return next;
    }

    /// <summary>Goes to the partition's next record that has not expired, and notes all it passes.</summary>
    private void MoveBase()
    {
        while (_base.MoveNext())
        {
            bool exists = _base.ExpiresAt == 0 || _base.ExpiresAt > _scan.Oracle.Now();
            if (_scan.NotesReads)
            {
                Meet(exists);
            }

            if (exists)
            {
                _hasBase = true;
                return;
            }
        }

        _hasRead = true;
        _baseEnded = true;
    }

    private void Meet(bool exists)
    {
        ReadOnlySpan<byte> key = _base.Key;
        if (_lastRead.Length < key.Length)
        {
            _lastRead = new byte[Math.Max(64, key.Length * 2)];
        }

        key.CopyTo(_lastRead);
        _lastReadLength = key.Length;
        _hasRead = true;
        if (exists)
        {
            _digest.Add(key, _base.Version);
        }
    }

    /// <summary>Own keys may have come since the last move: the place is found again by the key that the cursor stands at.</summary>
    private void FindPlace()
    {
        bool moved = _order.Refresh();
        if (!moved && _order.Generation == _orderSeen)
        {
            return;
        }

        _orderSeen = _order.Generation;
        ReadOnlySpan<byte> at = _isPlaced ? Key : _start ?? (_reverse ? _to : _from);
        if (_reverse)
        {
            // The last one below the upper bound, or at or below a key that was sought, or below the present one.
            bool inclusive = !_isPlaced && _start is not null;
            _place = at.IsEmpty ? _order.Count - 1 : _order.FirstAtOrBehind(at, !inclusive) - 1;
        }
        else
        {
            _place = at.IsEmpty || (_byHash && !_isPlaced && _start is null) ? 0 : _order.FirstAtOrBehind(at, inclusive: !_isPlaced);
        }
    }

    /// <summary>The next own key of this partition and range, or -1.</summary>
    private int OwnAtPlace()
    {
        while ((uint)_place < (uint)_order.Count)
        {
            int number = _order[_place];
            ReadOnlySpan<byte> key = _writes.Keys[number];
            bool isIn = key.SequenceCompareTo(_from) >= 0 && (_to.Length == 0 || key.SequenceCompareTo(_to) < 0);
            if (isIn && _writes.HasWrite(number))
            {
                return number;
            }

            if (!isIn && !_byHash && (_reverse ? key.SequenceCompareTo(_from) < 0 : key.SequenceCompareTo(_from) >= 0))
            {
                return -1;
            }

            _place += _reverse ? -1 : 1;
        }

        return -1;
    }

    /// <summary>Below 0: the own key comes before the partition's record; 0: it is the same key.</summary>
    private int CompareOwn(int own)
    {
        int order = _order.Compare(own, _byHash ? XxHash64.Compute(_base.Key) : 0, _base.Key);
        return _reverse ? -order : order;
    }

    /// <summary>Goes on behind an own key; true if it is a record. <paramref name="isStored"/>: the partition's cursor stands at it.</summary>
    private bool TakeOwn(int number, bool isStored)
    {
        _place += _reverse ? -1 : 1;
        ReadOnlySpan<byte> key = _writes.Keys[number];
        bool found = _writes.TryFind(number, key, out BufferedWrite write);
        Debug.Assert(found, "only keys with a write are taken");
        _own = write;
        _merged = null;
        if (write.IsMerge)
        {
            Merge(key, isStored);
        }

        if (write.Kind == WriteKind.Remove || (OwnExpiresAt is var expiresAt && expiresAt != 0 && expiresAt <= _scan.Oracle.Now()))
        {
            return false;
        }

        if (_ownKey.Length < key.Length)
        {
            _ownKey = new byte[Math.Max(64, key.Length * 2)];
        }

        key.CopyTo(_ownKey);
        _ownKeyLength = key.Length;
        _isOwn = true;
        _isPlaced = true;
        return true;
    }

    /// <summary>What the merges of a key make of the partition's record.</summary>
    private void Merge(ReadOnlySpan<byte> key, bool isStored)
    {
        var stored = new ValueLease
        {
            Status = isStored ? Status.Ok : Status.NotFound,
            Value = isStored ? _base.Value : default,
            ExpiresAtUnixMilliseconds = isStored ? _base.ExpiresAt : 0,
        };
        Status status = TransactionMerges.Evaluate(_scan.Body, _writes, key, stored, out _merged, out _mergedExpiresAt);
        if (status != Status.Ok)
        {
            throw new RefusedException(status, $"{TransactionCommit.Describe(key)}: {_scan.Body.Detail}");
        }
    }

    /// <summary>A relative expiry counts from the commit, which is to come.</summary>
    private long OwnExpiresAt => _merged is not null ? _mergedExpiresAt : _own.Expiry.IsRelative ? 0 : _own.Expiry.Milliseconds;

    private void Unlink()
    {
        TransactionBody body = _scan.Body;
        if (body.Cursors == this)
        {
            body.Cursors = Next;
            return;
        }

        for (TransactionCursor? cursor = body.Cursors; cursor is not null; cursor = cursor.Next)
        {
            if (cursor.Next == this)
            {
                cursor.Next = Next;
                return;
            }
        }
    }
}
