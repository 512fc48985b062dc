using System.Diagnostics;
using System.Runtime.CompilerServices;
using static KeyVa.Bench.Targets.RocksDbNative;

namespace KeyVa.Bench.Targets;

/// <summary>
/// RocksDB (Debian's library) through its C API, with KeyVa's sizes. Put and delete are blind, as its users call them; a
/// read pins the value instead of copying it.
/// </summary>
internal sealed unsafe class RocksDbTarget(BenchOptions options) : Target<RocksDbTarget.Session>
{
    // Immutable while open.
    private nint _db;
    private nint _cache;
    private nint _writeOptions;
    private nint _readOptions;

    public override string Name => "rocksdb";

    public override string Settings =>
        $"journal (WAL) on, block cache {options.BlockCacheBytes >> 20} MiB LRU, write buffer {options.MemtableBytes >> 20} MiB x 5, " +
        "Bloom filter 10 bits/key over whole keys, blocks 4 KiB, max_background_jobs 2, level 0 at 4/20/36 files, level 1 256 MiB x 10, " +
        $"files 64 MiB, compression {options.Compression.ToString().ToLowerInvariant()}, everything else as it comes";

    public override bool HasBackgroundWork =>
        Property("rocksdb.num-running-compactions") + Property("rocksdb.num-running-flushes") +
        Property("rocksdb.compaction-pending") + Property("rocksdb.mem-table-flush-pending") > 0;

    public override string? Refuses(Work work) =>
        options.Durability == Durability.Interval ? "RocksDB does not sync its journal by itself at intervals" : null;

    public override void Open(string directory, Durability durability)
    {
        nint table = rocksdb_block_based_options_create();
        _cache = rocksdb_cache_create_lru((nuint)options.BlockCacheBytes);
        rocksdb_block_based_options_set_block_cache(table, _cache);
        rocksdb_block_based_options_set_block_size(table, 4096);
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
        rocksdb_block_based_options_set_whole_key_filtering(table, 1);

        nint opening = rocksdb_options_create();
        rocksdb_options_set_create_if_missing(opening, 1);
        rocksdb_options_set_write_buffer_size(opening, (nuint)options.MemtableBytes);
        rocksdb_options_set_max_write_buffer_number(opening, 5);
        rocksdb_options_set_max_background_jobs(opening, 2);
        rocksdb_options_set_max_bytes_for_level_base(opening, 256UL << 20);
        rocksdb_options_set_target_file_size_base(opening, 64UL << 20);
        rocksdb_options_set_compression(opening, options.Compression == Compression.Lz4 ? 4 : 0);
        rocksdb_options_set_block_based_table_factory(opening, table);

        byte* error = null;
        _db = rocksdb_open(opening, directory, &error);
        rocksdb_options_destroy(opening);
        rocksdb_block_based_options_destroy(table);
        Check(error);

        _writeOptions = rocksdb_writeoptions_create();
        rocksdb_writeoptions_disable_WAL(_writeOptions, 0);
        rocksdb_writeoptions_set_sync(_writeOptions, durability == Durability.Always ? (byte)1 : (byte)0);
        _readOptions = rocksdb_readoptions_create();
    }

    public override void Flush()
    {
        nint waiting = rocksdb_flushoptions_create();
        byte* error = null;
        rocksdb_flush(_db, waiting, &error);
        rocksdb_flushoptions_destroy(waiting);
        Check(error);
    }

    public override void Close()
    {
        rocksdb_close(_db);
        rocksdb_writeoptions_destroy(_writeOptions);
        rocksdb_readoptions_destroy(_readOptions);
        rocksdb_cache_destroy(_cache);
        _db = 0;
    }

    protected override Session NewSession() => new(_db, _writeOptions, _readOptions);

    private ulong Property(string name)
    {
        ulong value;
        return rocksdb_property_int(_db, name, &value) == 0 ? value : throw new UnreachableException(name);
    }

    internal readonly struct Session(nint db, nint writeOptions, nint readOptions) : ISession
    {
        public void Put(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value)
        {
            byte* error = null;
            fixed (byte* k = key, v = value)
            {
                rocksdb_put(db, writeOptions, k, (nuint)key.Length, v, (nuint)value.Length, &error);
            }

            Check(error);
        }

        public bool Get(ReadOnlySpan<byte> key, ref ulong touched)
        {
            nint slice = Pin(key);
            if (slice == 0)
            {
                return false;
            }

            nuint length;
            byte* value = rocksdb_pinnableslice_value(slice, &length);
            touched += length + value[length - 1];
            rocksdb_pinnableslice_destroy(slice);
            return true;
        }

        public bool Read(ReadOnlySpan<byte> key, Span<byte> value)
        {
            nint slice = Pin(key);
            if (slice == 0)
            {
                return false;
            }

            nuint length;
            byte* found = rocksdb_pinnableslice_value(slice, &length);
            new ReadOnlySpan<byte>(found, (int)length).CopyTo(value);
            rocksdb_pinnableslice_destroy(slice);
            return true;
        }

        public void Delete(ReadOnlySpan<byte> key)
        {
            byte* error = null;
            fixed (byte* k = key)
            {
                rocksdb_delete(db, writeOptions, k, (nuint)key.Length, &error);
            }

            Check(error);
        }

        public long Scan(ReadOnlyMemory<byte> from, bool reverse, long limit, ref ulong touched)
        {
            nint iterator = rocksdb_create_iterator(db, readOptions);
            fixed (byte* k = from.Span)
            {
                if (reverse)
                {
                    SeekBefore(iterator, k, from.Length);
                }
                else
                {
                    rocksdb_iter_seek(iterator, k, (nuint)from.Length);
                }
            }

            long records = 0;
            ulong sum = 0;
            while (rocksdb_iter_valid(iterator) != 0)
            {
                nuint keyLength, valueLength;
                byte* key = rocksdb_iter_key(iterator, &keyLength);
                byte* value = rocksdb_iter_value(iterator, &valueLength);
                sum += keyLength + key[keyLength - 1] + valueLength + value[valueLength - 1];
                if (++records == limit)
                {
                    break;
                }

                if (reverse)
                {
                    rocksdb_iter_prev(iterator);
                }
                else
                {
                    rocksdb_iter_next(iterator);
                }
            }

            byte* error = null;
            rocksdb_iter_get_error(iterator, &error);
            rocksdb_iter_destroy(iterator);
            Check(error);
            touched += sum;
            return records;
        }

        public void Dispose()
        {
        }

        /// <summary>seek_for_prev stops at the key itself if it is there; the range of a reverse scan excludes it.</summary>
        private static void SeekBefore(nint iterator, byte* key, int length)
        {
            rocksdb_iter_seek_for_prev(iterator, key, (nuint)length);
            if (rocksdb_iter_valid(iterator) != 0)
            {
                nuint foundLength;
                byte* found = rocksdb_iter_key(iterator, &foundLength);
                if (new ReadOnlySpan<byte>(found, (int)foundLength).SequenceEqual(new ReadOnlySpan<byte>(key, length)))
                {
                    rocksdb_iter_prev(iterator);
                }
            }
        }

        // The value of a key, 0 if there is none; the caller destroys it.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private nint Pin(ReadOnlySpan<byte> key)
        {
            byte* error = null;
            nint slice;
            fixed (byte* k = key)
            {
                slice = rocksdb_get_pinned(db, readOptions, k, (nuint)key.Length, &error);
            }

            Check(error);
            return slice;
        }
    }
}
