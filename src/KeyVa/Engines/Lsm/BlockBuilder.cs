using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using KeyVa.Io;

namespace KeyVa.Engines.Lsm;

/// <summary>Builds one data block after the other (see <see cref="BlockFormat"/>). One thread; allocates nothing in steady state.</summary>
internal sealed unsafe class BlockBuilder : IDisposable
{
    private const int MaxBuckets = 512;

    private readonly NativeBuffer _bytes = new(16 << 10);
    private readonly NativeBuffer _restarts = new(256);
    private readonly NativeBuffer _hashes = new(1024);
    private readonly NativeBuffer _lastKey = new(256);
    private int _sinceRestart;
    private int _restartCount;
    private int _entries;

    public int Entries => _entries;

    public bool IsEmpty => _entries == 0;

    /// <summary>Bytes of the block if it were finished now, without the hash index.</summary>
    public int EstimatedBytes => _bytes.Length + _restarts.Length + BlockFormat.FooterBytes;

    public ReadOnlySpan<byte> LastKey => _lastKey.Written;

    public void Add(byte* key, int keyLength, ulong hash, long versionDelta, EntryKind kind, long stampDelta, long expiresAt, ReadOnlySpan<byte> value)
    {
        Debug.Assert(versionDelta >= 0 && stampDelta >= 0, "bases are lower bounds");
        int shared = 0;
        if (_sinceRestart == 0)
        {
            _restarts.AppendUInt32((uint)_bytes.Length);
            _restartCount++;
        }
        else
        {
            shared = KeyOrder.CommonLength((byte*)_lastKey.Address, key, Math.Min(_lastKey.Length, keyLength));
        }

        int versionCode = BlockFormat.WidthCode((ulong)versionDelta);
        int stampCode = BlockFormat.WidthCode((ulong)stampDelta);
        int flags = (int)kind | (expiresAt != 0 ? BlockFormat.HasExpiry : 0) | (versionCode << 4) | (stampCode << 6);
        Span<byte> room = _bytes.Append(1 + (3 * Varint.MaxLength) + 24);
        int start = _bytes.Length - room.Length;
        room[0] = (byte)flags;
        int n = 1;
        n += Varint.Write(room[n..], (ulong)shared);
        n += Varint.Write(room[n..], (ulong)(keyLength - shared));
        n += Varint.Write(room[n..], (ulong)value.Length);
        ref byte origin = ref MemoryMarshal.GetReference(room);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref origin, n), versionDelta);
        n += BlockFormat.Width(versionCode);
        Unsafe.WriteUnaligned(ref Unsafe.Add(ref origin, n), stampDelta);
        n += BlockFormat.Width(stampCode);
        if (expiresAt != 0)
        {
            Unsafe.WriteUnaligned(ref Unsafe.Add(ref origin, n), expiresAt);
            n += 8;
        }

        _bytes.Truncate(start + n);
        _bytes.Append(new ReadOnlySpan<byte>(key + shared, keyLength - shared));
        _bytes.Append(value);
        _lastKey.Truncate(shared);
        _lastKey.Append(new ReadOnlySpan<byte>(key + shared, keyLength - shared));

        // For the hash index: which restart interval, and which hash.
        _hashes.AppendInt64((long)(hash & ~0xFFFFUL) | (long)((uint)(_restartCount - 1) & 0xFFFF));
        _entries++;
        _sinceRestart = _sinceRestart + 1 == BlockFormat.RestartInterval ? 0 : _sinceRestart + 1;
    }

    /// <summary>Completes the block; the bytes stay until <see cref="Clear"/>. Room for the trailer is the caller's affair.</summary>
    public NativeBuffer Finish()
    {
        _bytes.Append(_restarts.Written);
        int buckets = AppendHashIndex();
        _bytes.AppendUInt32((uint)_restartCount);
        _bytes.AppendUInt32((uint)buckets);
        return _bytes;
    }

    public void Clear()
    {
        _bytes.Clear(1 << 20);
        _restarts.Clear();
        _hashes.Clear();
        _lastKey.Clear();
        _sinceRestart = 0;
        _restartCount = 0;
        _entries = 0;
    }

    public void Dispose()
    {
        _bytes.Dispose();
        _restarts.Dispose();
        _hashes.Dispose();
        _lastKey.Dispose();
    }

    /// <summary>The bucket of a hash; the low 16 bits stay out of it, since the builder keeps something else there.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Bucket(ulong hash, int buckets) => (int)(((hash >> 32) * (uint)buckets) >> 32);

    private int AppendHashIndex()
    {
        // One interval needs no index; more than 253 have no numbers in a byte.
        int buckets = (_entries * 4 / 3) | 1;
        if (_restartCount < 2 || _restartCount >= BlockFormat.NoEntry || buckets > MaxBuckets)
        {
            return 0;
        }

        Span<byte> index = _bytes.Append(buckets);
        index.Fill(BlockFormat.NoEntry);
        foreach (ulong item in MemoryMarshal.Cast<byte, ulong>(_hashes.Written))
        {
            byte interval = (byte)(item & 0xFFFF);
            ref byte bucket = ref index[Bucket(item, buckets)];
            bucket = bucket == BlockFormat.NoEntry || bucket == interval ? interval : BlockFormat.Collision;
        }

        return buckets;
    }
}
