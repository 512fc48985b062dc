using System.Globalization;
using System.Text;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Log;
using KeyVa.Partitions;

namespace KeyVa;

/// <summary>
/// Loads records in strictly rising key order straight into tables of the lsm engine, past journal and memtables. Nothing is
/// visible before <see cref="Complete"/>; then everything is, at one version, newer than what was there. If it is not
/// completed, or the process dies before, nothing has happened. One thread at a time; the calls write to the disk and wait
/// for it. Dispose it, before the store.
/// </summary>
/// <remarks>
/// On partitions of the memory engine, which have no tables, and on replicated ones, records are written as ordinary batches while they are added:
/// there a load saves nothing and is not all-or-nothing.
/// </remarks>
public sealed class BulkLoader : IDisposable
{
    /// <summary>Bytes of a batch for the memory engine, unless the store's limit is lower.</summary>
    private const int BatchBytes = 512 << 10;

    /// <summary>Bytes of a key that a message shows.</summary>
    private const int ShownKeyBytes = 64;

    private readonly Store _store;
    private readonly PartitionRegistry _registry;
    private readonly Journal _journal;
    private readonly VersionOracle _oracle;
    private readonly bool _isReplicated;
    private readonly List<BulkPart> _parts = [];
    private readonly NativeBuffer _lastKey = new(64);
    private readonly WriteBatch _batch = new();
    private long _batchBytes;
    private long _batchVersion;

    // Where the last key lies; the staging is null on the memory engine.
    private Partition? _partition;
    private Engines.Lsm.TableStaging? _staging;

    private WriteResult? _refusal;
    private bool _completed;
    private bool _disposed;

    internal BulkLoader(Store store, PartitionRegistry registry, Journal journal, VersionOracle oracle, bool isReplicated)
    {
        _isReplicated = isReplicated;
        _store = store;
        _registry = registry;
        _journal = journal;
        _oracle = oracle;
    }

    /// <summary>Records added.</summary>
    public long Records { get; private set; }

    /// <summary>For a person: why a record was refused; null if none was.</summary>
    public string? Detail => _refusal?.Detail;

    /// <summary>
    /// Adds a record. The key must come behind the one before it in byte order. <see cref="Status.Ok"/>, or why the record is
    /// refused (<see cref="Detail"/> says it in words): the load is at its end then, and completing it changes nothing.
    /// </summary>
    public Status Add(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Expiry expiry = default)
    {
        ObjectDisposedException.ThrowIf(_disposed || _completed, this);
        if (_refusal is { } refusal)
        {
            return refusal.Status;
        }

        if (!Check(key, value.Length))
        {
            return _refusal!.Value.Status;
        }

        try
        {
            Write(key, value, expiry);
        }
        catch (StorageFullException)
        {
            _refusal = Refusals.Full;
        }

        if (_refusal is { } refused)
        {
            return refused.Status;
        }

        _lastKey.Clear();
        _lastKey.Append(key);
        Records++;
        return Status.Ok;
    }

    /// <summary>
    /// Makes the load happen: as durable as the store promises, and visible, when it returns Ok. Otherwise nothing was
    /// loaded, but for <see cref="Status.Failed"/>: opening the store again tells.
    /// </summary>
    public WriteResult Complete()
    {
        ObjectDisposedException.ThrowIf(_disposed || _completed, this);
        _completed = true;
        if (_refusal is null)
        {
            WriteBatch();
        }

        if (_refusal is { } refusal)
        {
            return refusal;
        }

        if (_parts.Count == 0)
        {
            return new WriteResult { Status = Status.Ok, Version = _batchVersion, FailedOperation = -1 };
        }

        try
        {
            foreach (BulkPart part in _parts)
            {
                part.Staging.Complete();
            }
        }
        catch (StorageFullException)
        {
            return Refusals.Full;
        }

        return BulkCommit.Run(_parts, _journal, _oracle);
    }

    /// <summary>Gives up what was not completed and deletes its files.</summary>
    public void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            _parts.ForEach(static part => part.Dispose());
            _batch.Dispose();
            _lastKey.Dispose();
        }
    }

    private bool Check(ReadOnlySpan<byte> key, int valueBytes)
    {
        if (Refusals.CheckKey(key.Length, Status.Ok) is var status and not Status.Ok)
        {
            return Refuse(status, Refusals.DescribeKey(key.Length));
        }

        if (valueBytes > _store.Options.MaxValueBytes)
        {
            return Refuse(Status.TooLarge, string.Create(CultureInfo.InvariantCulture, $"its value of {valueBytes} bytes exceeds the limit of {_store.Options.MaxValueBytes} bytes (max-value-bytes)"));
        }

        int order = Records == 0 ? 1 : key.SequenceCompareTo(_lastKey.Written);
        return order > 0 || Refuse(Status.Invalid, order == 0
            ? $"its key {Show(key)} is the one before it: a bulk load takes every key once"
            : $"its key {Show(key)} comes before the one added last, {Show(_lastKey.Written)}: a bulk load takes keys in rising byte order");
    }

    private bool Refuse(Status status, string why)
    {
        _refusal = new WriteResult
        {
            Status = status,
            FailedOperation = -1,
            Detail = string.Create(CultureInfo.InvariantCulture, $"record {Records + 1} of the load: {why}"),
        };
        return false;
    }

    private static string Show(ReadOnlySpan<byte> key)
    {
        bool isText = !key.ContainsAnyExceptInRange((byte)' ', (byte)'~');
        ReadOnlySpan<byte> shown = key[..Math.Min(key.Length, ShownKeyBytes)];
        string text = isText ? $"'{Encoding.ASCII.GetString(shown)}'" : $"0x{Convert.ToHexString(shown)}";
        return shown.Length < key.Length ? $"{text}..." : text;
    }

    private void Write(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Expiry expiry)
    {
        if ((_partition is null || !_partition.Range.Contains(key)) && !Enter(key))
        {
            return;
        }

        if (_staging is null)
        {
            AddToBatch(key, value, expiry);
            return;
        }

        long expiresAt = expiry.IsRelative ? _oracle.Now() + expiry.Milliseconds : expiry.Milliseconds;
        _staging.Add(key, expiresAt, value);
    }

    /// <summary>Goes on in the partition that owns the key.</summary>
    private bool Enter(ReadOnlySpan<byte> key)
    {
        _partition = null;
        _staging = null;
        Epochs.Enter();
        try
        {
            Partition? partition = _registry.Map.Find(key);
            if (partition is null || !partition.TryPin())
            {
                return Refuse(Status.BadNode, $"its key {Show(key)}: {Refusals.BadNodeDetail}");
            }

            _partition = partition;
            if (partition.Engine.Ingestion is not { } ingestion || partition.Indexes.All.Length > 0 || _isReplicated)
            {
                partition.Unpin();
                return true;
            }

            var part = new BulkPart(partition, ingestion);
            _parts.Add(part);
            _staging = part.Staging;
            return true;
        }
        finally
        {
            Epochs.Exit();
        }
    }

    private void AddToBatch(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, Expiry expiry)
    {
        if (_batch.Count == Limits.MaxBatchOperations
            || (_batch.Count > 0 && _batchBytes + key.Length + value.Length > Math.Min(BatchBytes, _store.Options.MaxBatchBytes)))
        {
            WriteBatch();
        }

        _batch.Put(key, value, new WriteOptions { Expiry = expiry });
        _batchBytes += key.Length + value.Length;
    }

    private void WriteBatch()
    {
        if (_batch.Count == 0)
        {
            return;
        }

        WriteResult result = _store.Write(_batch);
        _batch.Clear();
        _batchBytes = 0;
        _batchVersion = result.Version;
        if (result.Status != Status.Ok)
        {
            _refusal = result;
        }
    }
}
