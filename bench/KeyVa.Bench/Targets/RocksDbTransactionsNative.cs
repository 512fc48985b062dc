using System.Runtime.InteropServices;

namespace KeyVa.Bench.Targets;

/// <summary>The transactions of RocksDB's C API. The library is found as <see cref="RocksDbNative"/> finds it.</summary>
internal static unsafe partial class RocksDbTransactionsNative
{
    private const string Library = "librocksdb";

    [LibraryImport(Library)]
    public static partial nint rocksdb_transactiondb_options_create();

    [LibraryImport(Library)]
    public static partial void rocksdb_transactiondb_options_destroy(nint options);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint rocksdb_transactiondb_open(nint options, nint transactionOptions, string name, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_transactiondb_close(nint db);

    [LibraryImport(Library)]
    public static partial nint rocksdb_transaction_options_create();

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_options_destroy(nint options);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_options_set_deadlock_detect(nint options, byte value);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_options_set_set_snapshot(nint options, byte value);

    [LibraryImport(Library)]
    public static partial nint rocksdb_transaction_begin(nint db, nint writeOptions, nint transactionOptions, nint old);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial nint rocksdb_optimistictransactiondb_open(nint options, string name, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_optimistictransactiondb_close(nint db);

    [LibraryImport(Library)]
    public static partial nint rocksdb_optimistictransaction_options_create();

    [LibraryImport(Library)]
    public static partial void rocksdb_optimistictransaction_options_destroy(nint options);

    [LibraryImport(Library)]
    public static partial void rocksdb_optimistictransaction_options_set_set_snapshot(nint options, byte value);

    [LibraryImport(Library)]
    public static partial nint rocksdb_optimistictransaction_begin(nint db, nint writeOptions, nint transactionOptions, nint old);

    [LibraryImport(Library)]
    public static partial nint rocksdb_transaction_get_pinned_for_update(
        nint transaction, nint readOptions, byte* key, nuint keyBytes, byte exclusive, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_put(nint transaction, byte* key, nuint keyBytes, byte* value, nuint valueBytes, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_commit(nint transaction, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_rollback(nint transaction, byte** error);

    [LibraryImport(Library)]
    public static partial void rocksdb_transaction_destroy(nint transaction);
}
