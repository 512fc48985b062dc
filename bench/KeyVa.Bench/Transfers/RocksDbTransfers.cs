using System.Runtime.InteropServices;
using static KeyVa.Bench.Targets.RocksDbNative;
using static KeyVa.Bench.Targets.RocksDbTransactionsNative;

namespace KeyVa.Bench.Transfers;

/// <summary>
/// RocksDB's TransactionDB (locks) or OptimisticTransactionDB through the C API: both accounts are read for update, so nothing
/// that was read can change before the commit, which is serializable for transfers.
/// </summary>
internal sealed unsafe class RocksDbTransfers(BenchOptions options, bool optimistic) : TransferTarget
{
    // Immutable while open.
    private nint _db;
    private nint _cache;
    private nint _writeOptions;
    private nint _readOptions;
    private nint _transactionOptions;

    private bool IsOptimistic => optimistic;

    public override string Name => optimistic ? "rocksdb-optimistic" : "rocksdb-pessimistic";

    public override string Settings => (optimistic
        ? "OptimisticTransactionDB as it comes"
        : "TransactionDB as it comes, deadlock detection on") +
        $", get_for_update on both accounts, transaction objects used again; journal (WAL) on and not synced, block cache {options.BlockCacheBytes >> 20} MiB, write buffer {options.MemtableBytes >> 20} MiB x 5, Bloom filter 10 bits/key, max_background_jobs 2, no compression";

    public override void Open(string directory)
    {
        nint table = rocksdb_block_based_options_create();
        _cache = rocksdb_cache_create_lru((nuint)options.BlockCacheBytes);
        rocksdb_block_based_options_set_block_cache(table, _cache);
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
        nint opening = rocksdb_options_create();
        rocksdb_options_set_create_if_missing(opening, 1);
        rocksdb_options_set_write_buffer_size(opening, (nuint)options.MemtableBytes);
        rocksdb_options_set_max_write_buffer_number(opening, 5);
        rocksdb_options_set_max_background_jobs(opening, 2);
        rocksdb_options_set_compression(opening, 0);
        rocksdb_options_set_block_based_table_factory(opening, table);
        byte* error = null;
        if (optimistic)
        {
            _db = rocksdb_optimistictransactiondb_open(opening, directory, &error);
            _transactionOptions = rocksdb_optimistictransaction_options_create();
        }
        else
        {
            nint settings = rocksdb_transactiondb_options_create();
            _db = rocksdb_transactiondb_open(opening, settings, directory, &error);
            rocksdb_transactiondb_options_destroy(settings);
            _transactionOptions = rocksdb_transaction_options_create();
            rocksdb_transaction_options_set_deadlock_detect(_transactionOptions, 1);
        }

        rocksdb_options_destroy(opening);
        rocksdb_block_based_options_destroy(table);
        Throw(error);
        _writeOptions = rocksdb_writeoptions_create();
        rocksdb_writeoptions_set_sync(_writeOptions, 0);
        _readOptions = rocksdb_readoptions_create();
    }

    public override void Close()
    {
        if (optimistic)
        {
            rocksdb_optimistictransactiondb_close(_db);
            rocksdb_optimistictransaction_options_destroy(_transactionOptions);
        }
        else
        {
            rocksdb_transactiondb_close(_db);
            rocksdb_transaction_options_destroy(_transactionOptions);
        }

        rocksdb_writeoptions_destroy(_writeOptions);
        rocksdb_readoptions_destroy(_readOptions);
        rocksdb_cache_destroy(_cache);
    }

    public override TransferSession NewSession() => new Session(this);

    private static void Throw(byte* error)
    {
        if (error is not null)
        {
            throw new InvalidOperationException(Marshal.PtrToStringUTF8((nint)error));
        }
    }

    private sealed class Session(RocksDbTransfers owner) : TransferSession
    {
        private readonly byte[] _value = GC.AllocateArray<byte>(ValueBytes, pinned: true);
        private nint _transaction;

        public override void Put(byte[] key, byte[] value)
        {
            Begin();
            byte* error = null;
            Write(key, value, &error);
            Throw(error);
            rocksdb_transaction_commit(_transaction, &error);
            Throw(error);
        }

        public override void Transfer(byte[] from, byte[] to)
        {
            while (!TryTransfer(from, to))
            {
                Conflicts++;
                byte* error = null;
                rocksdb_transaction_rollback(_transaction, &error);
                Throw(error);
            }
        }

        public override long Total(int accounts)
        {
            Begin();
            long total = 0;
            byte[] key = Keys.NewBuffer(KeyBytes);
            for (int i = 0; i < accounts; i++)
            {
                Keys.Write(key, (ulong)i);
                byte* error = null;
                total += Read(key, &error);
                Throw(error);
            }

            byte* end = null;
            rocksdb_transaction_rollback(_transaction, &end);
            Throw(end);
            return total;
        }

        public override void Dispose()
        {
            if (_transaction != 0)
            {
                rocksdb_transaction_destroy(_transaction);
            }

            base.Dispose();
        }

        private void Begin() => _transaction = owner.IsOptimistic
            ? rocksdb_optimistictransaction_begin(owner._db, owner._writeOptions, owner._transactionOptions, _transaction)
            : rocksdb_transaction_begin(owner._db, owner._writeOptions, owner._transactionOptions, _transaction);

        private bool TryTransfer(byte[] from, byte[] to)
        {
            Begin();
            byte* error = null;
            long left = Read(from, &error);
            if (IsVain(error))
            {
                return false;
            }

            long right = Read(to, &error);
            if (IsVain(error))
            {
                return false;
            }

            WriteAccount(_value, left - 1);
            Write(from, _value, &error);
            Throw(error);
            WriteAccount(_value, right + 1);
            Write(to, _value, &error);
            Throw(error);
            rocksdb_transaction_commit(_transaction, &error);
            return !IsVain(error);
        }

        private long Read(byte[] key, byte** error)
        {
            fixed (byte* k = key)
            {
                nint slice = rocksdb_transaction_get_pinned_for_update(_transaction, owner._readOptions, k, (nuint)key.Length, 1, error);
                if (slice == 0)
                {
                    return 0;
                }

                nuint length;
                byte* value = rocksdb_pinnableslice_value(slice, &length);
                long balance = ReadAccount(new ReadOnlySpan<byte>(value, (int)length));
                rocksdb_pinnableslice_destroy(slice);
                return balance;
            }
        }

        private void Write(byte[] key, byte[] value, byte** error)
        {
            fixed (byte* k = key, v = value)
            {
                rocksdb_transaction_put(_transaction, k, (nuint)key.Length, v, (nuint)value.Length, error);
            }
        }

        /// <summary>Whether another transaction was in the way (Busy, Deadlock, TimedOut, TryAgain); any other error is thrown.</summary>
        private static bool IsVain(byte* error)
        {
            if (error is null)
            {
                return false;
            }

            string text = Marshal.PtrToStringUTF8((nint)error)!;
            rocksdb_free(error);
            return text.Contains("busy", StringComparison.OrdinalIgnoreCase) || text.Contains("deadlock", StringComparison.OrdinalIgnoreCase)
                || text.Contains("timed out", StringComparison.OrdinalIgnoreCase) || text.Contains("timeout", StringComparison.OrdinalIgnoreCase)
                || text.Contains("try again", StringComparison.OrdinalIgnoreCase)
                ? true
                : throw new InvalidOperationException(text);
        }
    }
}
