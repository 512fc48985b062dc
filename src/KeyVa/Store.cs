using System.Diagnostics;
using System.Runtime.CompilerServices;
using KeyVa.Indexes;
using KeyVa.Log;
using KeyVa.Measurements;
using KeyVa.Merges;
using KeyVa.Partitions;
using KeyVa.Transactions;
using KeyVa.Transactions.Locks;

namespace KeyVa;

/// <summary>
/// An embedded store: one data folder, opened by one process. Thread-safe. The synchronous calls take and give spans
/// and allocate nothing in steady state; the asynchronous ones never block a thread while they wait for the disk.
/// Leases and cursors must be disposed before the store is.
/// </summary>
public sealed class Store : IStore
{
    /// <summary>One call in so many is timed where a call takes less than the clock costs.</summary>
    internal const int SampleMask = 31;

    private readonly StoreOpening _parts;
    private readonly PartitionRegistry _registry;
    private readonly StoreContext _context;
    private readonly Journal _journal;
    private readonly StoreCounters _counters = new();
    private readonly LatencyHistogram _getLatency = new();
    private readonly LatencyHistogram _writeLatency = new();
    private readonly long _opened = Stopwatch.GetTimestamp();
    private readonly Scrubber _scrubber;
    private readonly StoreIndexes _indexes;
    private readonly PastReader _past;
    private readonly StoreReads _reads;
    private readonly StoreWrites _writes;
    private readonly LiveTransactions _transactions;
    private int _disposed;

    private Store(StoreOpening parts)
    {
        _parts = parts;
        _registry = parts.Registry!;
        _context = parts.Context!;
        _journal = parts.Journal!;
        _reads = new StoreReads(_registry, _context, _counters, _getLatency);
        _indexes = new StoreIndexes(_registry, _context);
        _writes = new StoreWrites(_registry, _journal, _context, _indexes.Guard, _counters, _writeLatency);
        _transactions = new LiveTransactions(_registry, _context, _journal, _indexes, _counters, _writeLatency);
        _scrubber = new Scrubber(_registry, _journal, _context);
        _past = new PastReader(_registry, _context, _journal);
        _indexes.Resume();
    }

    /// <summary>The partitions.</summary>
    public IPartitions Partitions => _registry;

    /// <summary>The secondary indexes.</summary>
    public IIndexes Indexes => _indexes;

    /// <summary>The options the store was opened with.</summary>
    public StoreOptions Options => _context.Options;

    /// <summary>The data folder.</summary>
    public string Path => _context.Directory;

    /// <summary>Where the data folder is.</summary>
    internal Io.IFileSystem FileSystem => _context.FileSystem;

    /// <summary>What opening found and mended (a cut journal tail, for example), for the log; empty: nothing.</summary>
    public IReadOnlyList<string> RecoveryNotes => _parts.Notes;

    /// <summary>The locks of transactions; null while none has needed any.</summary>
    internal LockTable? Locks => _context.Locks;

    /// <summary>The transactions under way.</summary>
    internal LiveTransactions Live => _transactions;

    /// <summary>Whether writes note where their time goes.</summary>
    internal WriteTiming Timing => _context.Timing;

    /// <summary>
    /// Counts asynchronous writes that may overtake each other: they waited for locks or for values of a unique index, or went to several
    /// partitions. Two that one thread began while this stayed the same happen, of one key, in the order in which it began them.
    /// </summary>
    internal long Detours => _context.Detours;

    internal IReadOnlyList<IndexInfo> ListIndexes() => _indexes.List();

    internal MergeRegistry MergeFunctions => _context.MergeFunctions;

    /// <summary>What stopped the store from taking writes (a failed sync, damage), or null.</summary>
    public StoreException? Failure
    {
        get
        {
            foreach (Partition partition in _registry.Map.Partitions)
            {
                if (partition.Writer.Failure is { } failure)
                {
                    return failure;
                }
            }

            return _journal.Failure;
        }
    }

    /// <summary>
    /// The damage that reading all files in the background has found since the store was opened, by file and offset; at
    /// most 100 places. See <see cref="StoreOptions.ScrubInterval"/>.
    /// </summary>
    public IReadOnlyList<CorruptionException> ScrubDamages => _scrubber.Damages;

    /// <summary>Begins to read all files in the background now, at <see cref="StoreOptions.ScrubBytesPerSecond"/>, unless that is under way.</summary>
    public void BeginScrub() => _scrubber.Begin();

    /// <summary>
    /// Begins to read all files in search of damage, or those of one partition, at a rate of its own, and says how far it is and
    /// what it has found. What it finds is among <see cref="ScrubDamages"/> too.
    /// </summary>
    /// <param name="partition">Null: all partitions and the journal.</param>
    /// <param name="bytesPerSecond">At least 64 KiB; null: <see cref="StoreOptions.ScrubBytesPerSecond"/>.</param>
    /// <param name="cancellation">Ends it early.</param>
    public StoreScrub BeginScrub(long? partition, long? bytesPerSecond = null, CancellationToken cancellation = default)
    {
        long rate = bytesPerSecond ?? _context.Options.ScrubBytesPerSecond;
        ArgumentOutOfRangeException.ThrowIfLessThan(rate, Scrubber.MinBytesPerSecond, nameof(bytesPerSecond));
        return _scrubber.Begin(partition, rate, cancellation);
    }

    /// <summary>
    /// Opens the store in a folder, created if missing. Throws <see cref="StoreException"/> if the folder is in use,
    /// is no store, has an unknown format version, or is damaged (<see cref="CorruptionException"/>).
    /// </summary>
    public static Store Open(string path, StoreOptions? options = null) => Open(path, options, new StoreEnvironment());

    /// <summary>
    /// Reads every byte of a data folder (or of a snapshot) that is not in use and returns what is damaged, by file and
    /// offset; empty: nothing. <paramref name="note"/> gets remarks for the user. Throws <see cref="StoreException"/> if
    /// the folder is in use or no store.
    /// </summary>
    public static IReadOnlyList<CorruptionException> Verify(string path, Action<string>? note = null, CancellationToken cancellation = default) =>
        StoreVerification.Run(path, new StoreEnvironment(), note, cancellation);

    /// <summary>
    /// Saves everything in a damaged data folder whose checksum fits, and reports the rest: into the folder <paramref name="to"/>
    /// (missing or empty), or in place, with what was there moved into <c>damaged-N</c> below the folder; nothing is
    /// destroyed. A folder without damage is left alone. The result opens, and its verification finds nothing. Throws
    /// <see cref="StoreException"/> if the folder is in use or no store, or if there is no room.
    /// </summary>
    public static RepairReport Repair(string path, string? to = null, CancellationToken cancellation = default) =>
        Repair(path, to, [], cancellation);

    /// <summary>As <see cref="Repair(string, string?, CancellationToken)"/>, for a store with merge functions of its program: see <see cref="StoreOptions.MergeFunctions"/>.</summary>
    public static RepairReport Repair(string path, string? to, IReadOnlyList<MergeFunction> mergeFunctions, CancellationToken cancellation = default) =>
        StoreRepair.Run(path, to, new StoreEnvironment(), cancellation, new MergeRegistry(mergeFunctions));

    /// <summary>Reads a key without a copy; dispose the lease soon.</summary>
    public ValueLease Get(scoped ReadOnlySpan<byte> key)
    {
        long count = _counters.Add(Counter.Gets);
        if ((count & SampleMask) != 0)
        {
            return _reads.Read(key);
        }

        long start = Stopwatch.GetTimestamp();
        ValueLease lease = _reads.Read(key);
        _getLatency.RecordSince(start);
        return lease;
    }

    /// <summary>Reads a key into a buffer. Status Ok with <paramref name="length"/> beyond the buffer's: it was too small, nothing was copied.</summary>
    public Status TryGet(ReadOnlySpan<byte> key, Span<byte> destination, out int length)
    {
        using ValueLease lease = Get(key);
        length = lease.Value.Length;
        lease.Value.TryCopyTo(destination);
        return lease.Status;
    }

    /// <summary>Writes a key and waits until it is as durable as the store promises.</summary>
    public WriteResult Upsert(ReadOnlySpan<byte> key, ReadOnlySpan<byte> value, WriteOptions options = default)
    {
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.OwnCommand.Put(key, value, options);
        request.OwnCommand.Acknowledgement = options.Acknowledgement;
        return _writes.Write(request, key, request.OwnCommand);
    }

    /// <summary>
    /// Makes a key's value from the one that it has and an operand, when the write is applied: it never conflicts with another. <see cref="WriteResult.Merged"/>
    /// has the value that it came to; <see cref="Status.MergeRefused"/> if the function refuses, and then nothing has changed. Without an expiry a key
    /// that is there keeps its own.
    /// </summary>
    public WriteResult Merge(ReadOnlySpan<byte> key, MergeFunction function, ReadOnlySpan<byte> operand, WriteOptions options = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.OwnCommand.Merge(key, function, operand, options);
        request.OwnCommand.Acknowledgement = options.Acknowledgement;
        return _writes.Write(request, key, request.OwnCommand);
    }

    /// <summary>Adds to a counter, which is there from its first increment on; <see cref="WriteResult.MergedNumber"/> is what it came to.</summary>
    public WriteResult Increment(ReadOnlySpan<byte> key, long delta = 1, WriteOptions options = default)
    {
        Span<byte> operand = stackalloc byte[IncrementMerge.MaxDigits];
        return Merge(key, MergeFunction.Increment, IncrementMerge.Operand(delta, operand), options);
    }

    /// <summary>
    /// Removes a key; <see cref="Status.NotFound"/> if it was not there. A blind removal does not look, which saves a read
    /// on lsm, and always ends with Ok.
    /// </summary>
    public WriteResult Remove(ReadOnlySpan<byte> key, Condition condition = default, bool blind = false)
    {
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.OwnCommand.Remove(key, condition, blind);
        return _writes.Write(request, key, request.OwnCommand);
    }

    /// <summary>
    /// Removes every key from <paramref name="from"/> (inclusive) up to <paramref name="to"/> (exclusive), also across
    /// partitions, at one version; an empty bound is open. It does not look which keys are there, and ends with Ok. On
    /// lsm it costs as much as one write, however many keys go; on memory the partition's keys are gone through.
    /// <see cref="Status.Invalid"/> if the range ends where or before it begins.
    /// </summary>
    public WriteResult RemoveRange(ReadOnlySpan<byte> from, ReadOnlySpan<byte> to)
    {
        SyncWriteRequest request = SyncWriteRequest.ForThisThread;
        request.OwnCommand.Clear();
        request.OwnCommand.RemoveRange(from, to);
        return _writes.Write(request.OwnCommand);
    }

    /// <summary>Writes a batch: all of it at one version, or nothing.</summary>
    public WriteResult Write(WriteBatch batch)
    {
        ArgumentNullException.ThrowIfNull(batch);
        return _writes.Write(batch.Commands);
    }

    /// <summary>
    /// Begins a transaction; dispose it. Throws <see cref="RefusedException"/> if <see cref="StoreOptions.MaxTransactions"/> are
    /// under way, the options break a rule, or the store is closed.
    /// </summary>
    public Transaction Begin(TransactionOptions? options = null) => _transactions.Begin(options ?? TransactionOptions.Default);

    /// <summary>Describes the transactions under way, the oldest first, with the newest locks of each.</summary>
    /// <param name="limit">At most so many transactions.</param>
    /// <param name="locks">At most so many locks of each; what it waits for is told besides.</param>
    public IReadOnlyList<TransactionInfo> ListTransactions(int limit = 1000, int locks = 16)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(limit);
        ArgumentOutOfRangeException.ThrowIfNegative(locks);
        return _transactions.List(limit, locks);
    }

    /// <summary>
    /// Rolls a transaction back that somebody else has begun, and releases its locks; each later call of its owner ends with <see cref="Status.Expired"/>.
    /// </summary>
    /// <param name="number"><see cref="Transaction.Number"/>.</param>
    /// <returns>Ok; NotFound: there is none (any more); Busy: its commit is on its way.</returns>
    public Status EndTransaction(long number) => _transactions.End(number);

    /// <summary>
    /// Does work in a transaction and commits it; again from its beginning if it meets others (at most 64 times, with short random
    /// pauses; with locks after many, or after a few where the work is long), so it must have no effect but through the transaction. Work that
    /// rolls back ends it with <see cref="Status.Ok"/> and version 0; an exception rolls back and goes on to the caller.
    /// </summary>
    public CommitResult Transact(Action<Transaction> work, TransactionOptions? options = null) =>
        Transactions.Transact.Run(_transactions, work, options ?? TransactionOptions.Default);

    /// <inheritdoc/>
    public ValueTask<ITransaction> BeginAsync(TransactionOptions? options = null, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return ValueTask.FromResult<ITransaction>(Begin(options));
    }

    /// <summary>As <see cref="Transact(Action{Transaction}, TransactionOptions?)"/>, without blocking the thread.</summary>
    public Task<CommitResult> TransactAsync(Func<Transaction, ValueTask> work, TransactionOptions? options = null, CancellationToken cancellation = default) =>
        Transactions.Transact.RunAsync(_transactions, work, options ?? TransactionOptions.Default, cancellation);

    /// <summary>Opens a cursor over a range at one snapshot; check its <see cref="ScanCursor.Status"/>.</summary>
    public ScanCursor Scan(ScanOptions options)
    {
        ScanState state = _reads.OpenScan(options, out ValueTask closed);
        if (!closed.IsCompletedSuccessfully)
        {
            closed.AsTask().GetAwaiter().GetResult();
        }

        return new ScanCursor(state);
    }

    /// <summary>Asks a secondary index, at one snapshot; check the cursor's <see cref="IndexCursor.Status"/>.</summary>
    public IndexCursor Query(IndexQuery query)
    {
        ArgumentNullException.ThrowIfNull(query);
        _counters.Add(Counter.Scans);
        return _indexes.Query(query);
    }

    /// <summary>As <see cref="Query"/>, without blocking while the snapshot waits for writes under way.</summary>
    public ValueTask<IndexCursor> OpenQueryAsync(IndexQuery query, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(query);
        cancellation.ThrowIfCancellationRequested();
        _counters.Add(Counter.Scans);
        return _indexes.QueryAsync(query);
    }

    /// <summary>
    /// Reads a key as it was at a version or time; <see cref="Status.Compacted"/> if that has been forgotten (see
    /// <see cref="StoreOptions.RetainVersionsFor"/>; what has not been forgotten yet by chance is told too).
    /// </summary>
    public ReadResult GetAt(ReadOnlySpan<byte> key, AsOf at)
    {
        ValueTask<ReadResult> read = GetAtAsync(key.ToArray(), at);
        return read.IsCompletedSuccessfully ? read.Result : read.AsTask().GetAwaiter().GetResult();
    }

    /// <summary>
    /// Reads several keys as they were at a version or time; <see cref="Status.Compacted"/> if that has been forgotten of one of them. As of
    /// <see cref="AsOf.Now"/> they are read at one snapshot.
    /// </summary>
    public MultiReadResult GetAt(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at) => GetAtAsync(keys, at).AsTask().GetAwaiter().GetResult();

    /// <summary>Lists the versions of a key, as far as they are there.</summary>
    public HistoryResult History(ReadOnlySpan<byte> key, HistoryOptions? options = null)
    {
        ValueTask<HistoryResult> read = HistoryAsync(key.ToArray(), options);
        return read.IsCompletedSuccessfully ? read.Result : read.AsTask().GetAwaiter().GetResult();
    }

    /// <summary>
    /// Brings the keys of a range back to what they were at a version or time, also across partitions: by new puts and removals, all at one new
    /// version. Values come back with their expiry, unless it is past. Nothing changes and it ends with <see cref="Status.Compacted"/>
    /// if that has been forgotten. Other writes to the same partitions wait until it is done; readers do not.
    /// </summary>
    public RollBackResult RollBack(KeyRange range, AsOf to) => RollBackAsync(range, to).AsTask().GetAwaiter().GetResult();

    /// <summary>As <see cref="RollBack(KeyRange, AsOf)"/>, for one key.</summary>
    public RollBackResult RollBack(ReadOnlySpan<byte> key, AsOf to) => RollBackAsync(key.ToArray(), to).AsTask().GetAwaiter().GetResult();

    /// <summary>As <see cref="RollBack(KeyRange, AsOf)"/>, for a partition; <see cref="Status.NotFound"/> if there is none with this number.</summary>
    public RollBackResult RollBack(long partition, AsOf to) => RollBackAsync(partition, to).AsTask().GetAwaiter().GetResult();

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        _counters.Add(Counter.Gets);
        return at.IsSet ? _past.GetAtAsync(key, at) : GetAsync(key, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        cancellation.ThrowIfCancellationRequested();

        // A time that is not over yet can gain writes, and must not between two keys.
        if (!at.IsSet || at.UnixMilliseconds >= _context.Oracle.Now())
        {
            return GetAsync(keys, cancellation);
        }

        _counters.Add(Counter.Gets, keys.Count);
        return _past.GetAtAsync(keys, at);
    }

    /// <inheritdoc/>
    public ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions? options = null, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return _past.HistoryAsync(key, options ?? new HistoryOptions());
    }

    /// <inheritdoc/>
    public ValueTask<RollBackResult> RollBackAsync(KeyRange range, AsOf to, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        return new ValueTask<RollBackResult>(_past.RollBackAsync(new KeyRange(range.From.ToArray(), range.To.ToArray()), to, default).WaitAsync(cancellation));
    }

    /// <inheritdoc/>
    public ValueTask<RollBackResult> RollBackAsync(ReadOnlyMemory<byte> key, AsOf to, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        if (key.IsEmpty)
        {
            return ValueTask.FromResult(new RollBackResult { Status = Status.Invalid, Detail = Refusals.DescribeKey(0) });
        }

        byte[] copy = key.ToArray();
        return new ValueTask<RollBackResult>(_past.RollBackAsync(new KeyRange(copy, (byte[])[.. copy, 0]), to, copy).WaitAsync(cancellation));
    }

    /// <inheritdoc/>
    public ValueTask<RollBackResult> RollBackAsync(long partition, AsOf to, CancellationToken cancellation = default) =>
        _registry.Map.TryFind(partition, out Partition? found)
            ? RollBackAsync(found.Range, to, cancellation)
            : ValueTask.FromResult(new RollBackResult { Status = Status.NotFound, Detail = $"there is no partition {partition}; 'keyva admin partition list' shows them" });

    /// <summary>
    /// Begins a bulk load: records in strictly rising key order, which go straight into tables of the lsm engine and become
    /// visible together. For loads much larger than a memtable; smaller ones are as well off with batches.
    /// </summary>
    public BulkLoader BeginBulkLoad() => new(this, _registry, _journal, _context.Oracle, isReplicated: _context.Replication is not null);

    /// <summary>The store's figures.</summary>
    public StoreStatistics GetStatistics()
    {
        (long bytes, long passes, long damages, bool isRunning) = _scrubber.Figures;
        StoreStatistics figures = StoreFigures.Collect(_registry, _journal, _context, _counters, _getLatency.Summarize(), _writeLatency.Summarize(), Stopwatch.GetElapsedTime(_opened));
        figures = TransactionFigures.AddTo(figures, _transactions, _counters);
        return figures with { ScrubbedBytes = bytes, ScrubPasses = passes, ScrubDamages = damages, IsScrubbing = isRunning };
    }

    /// <inheritdoc/>
    public ValueTask<ReadResult> GetAsync(ReadOnlyMemory<byte> key, CancellationToken cancellation = default)
    {
        using ValueLease lease = Get(key.Span);
        return ValueTask.FromResult(StoreReads.Copy(key, lease));
    }

    /// <inheritdoc/>
    public ValueTask<MultiReadResult> GetAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, CancellationToken cancellation = default) =>
        _reads.ReadAll(keys, cancellation);

    /// <inheritdoc/>
    public ValueTask<WriteResult> UpsertAsync(ReadOnlyMemory<byte> key, ReadOnlyMemory<byte> value, WriteOptions options = default, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        AsyncWriteRequest request = AsyncWriteRequest.Rent();
        request.OwnCommand.Put(key.Span, value.Span, options);
        request.OwnCommand.Acknowledgement = options.Acknowledgement;
        return _writes.WriteAsync(request, key.Span, request.OwnCommand, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> MergeAsync(
        ReadOnlyMemory<byte> key, MergeFunction function, ReadOnlyMemory<byte> operand, WriteOptions options = default, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(function);
        cancellation.ThrowIfCancellationRequested();
        AsyncWriteRequest request = AsyncWriteRequest.Rent();
        request.OwnCommand.Merge(key.Span, function, operand.Span, options);
        request.OwnCommand.Acknowledgement = options.Acknowledgement;
        return _writes.WriteAsync(request, key.Span, request.OwnCommand, cancellation);
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> IncrementAsync(ReadOnlyMemory<byte> key, long delta = 1, WriteOptions options = default, CancellationToken cancellation = default) =>
        MergeAsync(key, MergeFunction.Increment, IncrementMerge.Operand(delta), options, cancellation);

    /// <inheritdoc/>
    public ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition = default, CancellationToken cancellation = default) =>
        RemoveAsync(key, condition, default, cancellation);

    /// <summary>For finding out which partitions a request touches.</summary>
    internal TouchedPartitions Touch() => new(_registry.Map);

    /// <summary>Whether its partitions are replicated.</summary>
    internal bool IsReplicated => _context.Replication is not null;

    /// <summary>
    /// Opens a session under a number that is never given twice: its writes (<see cref="WriteBatch.Session"/>), counted from 1 and sent one after the other, are applied once
    /// however often they are sent.
    /// </summary>
    internal Task<WriteResult> OpenSessionAsync(long client) => _writes.OpenSessionAsync(client);

    /// <summary>As the other, answered when the caller wants it.</summary>
    internal ValueTask<WriteResult> RemoveAsync(ReadOnlyMemory<byte> key, Condition condition, Acknowledgement acknowledgement, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        AsyncWriteRequest request = AsyncWriteRequest.Rent();
        request.OwnCommand.Remove(key.Span, condition, blind: false);
        request.OwnCommand.Acknowledgement = acknowledgement;
        return _writes.WriteAsync(request, key.Span, request.OwnCommand, cancellation);
    }

    /// <inheritdoc/>
    public async ValueTask<WriteResult> RemoveRangeAsync(ReadOnlyMemory<byte> from, ReadOnlyMemory<byte> to, CancellationToken cancellation = default)
    {
        // The batch must live until the write is done, cancelled or not: it is its finalizer that frees one left behind.
        var batch = new WriteBatch();
        WriteResult result = await WriteAsync(batch.RemoveRange(from.Span, to.Span), cancellation).ConfigureAwait(false);
        batch.Dispose();
        return result;
    }

    /// <inheritdoc/>
    public ValueTask<WriteResult> WriteAsync(WriteBatch batch, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(batch);
        cancellation.ThrowIfCancellationRequested();
        return _writes.WriteAsync(batch.Commands, cancellation);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<Record> ScanAsync(ScanOptions options, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using ScanCursor cursor = await OpenScanAsync(options, cancellation).ConfigureAwait(false);
        if (cursor.Status != Status.Ok)
        {
            throw new RefusedException(cursor.Status, cursor.Detail!) { BeginsAtVersion = cursor.BeginsAtVersion };
        }

        while (cursor.MoveNext())
        {
            cancellation.ThrowIfCancellationRequested();
            yield return StoreReads.Copy(cursor);
        }
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<IndexedRecord> QueryAsync(IndexQuery query, [EnumeratorCancellation] CancellationToken cancellation = default)
    {
        using IndexCursor cursor = await OpenQueryAsync(query, cancellation).ConfigureAwait(false);
        foreach (IndexedRecord record in IndexedRecord.All(cursor, cancellation))
        {
            yield return record;
        }
    }

    /// <inheritdoc/>
    public IAsyncEnumerable<WatchEvent> WatchAsync(WatchOptions options, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        return Watches.WatchStream.RunAsync(_context.Watches, options, () => _registry.Map, cancellation);
    }

    /// <summary>As <see cref="Scan"/>, without blocking while a snapshot of several partitions waits for writes under way.</summary>
    public async ValueTask<ScanCursor> OpenScanAsync(ScanOptions options, CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        ScanState state = _reads.OpenScan(options, out ValueTask closed);
        await closed.ConfigureAwait(false);
        return new ScanCursor(state);
    }

    /// <summary>
    /// Compacts the keys of a range, in every partition that has some, down to what is alive: what was removed, overwritten or
    /// has expired gives its room back, but for what open snapshots see. Reads and writes go on. Cancelling keeps what is
    /// done; fails with a <see cref="StoreException"/> if the store stops.
    /// </summary>
    public async Task<CompactionResult> CompactAsync(KeyRange range, CancellationToken cancellation = default)
    {
        long read = 0;
        long written = 0;
        foreach (Partition partition in _registry.Map.Partitions.ToArray().Where(partition => partition.Range.Overlaps(range)))
        {
            CompactionResult result = await CompactAsync(partition.Id, range, cancellation).ConfigureAwait(false);
            read += result.BytesRead;
            written += result.BytesWritten;
            if (result.Status is not (Status.Ok or Status.NotFound))
            {
                return result with { BytesRead = read, BytesWritten = written };
            }
        }

        return new CompactionResult(Status.Ok, read, written, null);
    }

    /// <summary>As <see cref="CompactAsync(KeyRange, CancellationToken)"/>, for one partition; NotFound if there is none with this number.</summary>
    public Task<CompactionResult> CompactAsync(long partition, CancellationToken cancellation = default) =>
        CompactAsync(partition, KeyRange.All, cancellation);

    /// <summary>Takes over what can be changed while the store is open: lock-timeout, max-transactions, scrub-rate, compaction-rate.</summary>
    internal void Change(StoreOptions options)
    {
        _context.CompactionRate?.Change(options.CompactionBytesPerSecond);
        _context.Options = _context.Options with
        {
            LockTimeout = options.LockTimeout,
            MaxTransactions = options.MaxTransactions,
            ScrubBytesPerSecond = options.ScrubBytesPerSecond,
            CompactionBytesPerSecond = options.CompactionBytesPerSecond,
        };
    }

    /// <summary>Closes the store: waits for writes under way, syncs the journal, stops background work.</summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        _scrubber.Dispose();
        _indexes.Dispose();
        _context.Watches.End();
        _transactions.Dispose();
        await _registry.CloseAsync().ConfigureAwait(false);
        _parts.Dispose();
        _counters.Close();
    }

    /// <summary>A key will be read or written soon; see <see cref="Engines.Engine.Prefetch"/>. Returns its partition's number, 0 if there is none.</summary>
    internal long Prefetch(ReadOnlySpan<byte> key, ulong hash) => _reads.Prefetch(key, hash);

    /// <summary>The second step, for keys of one partition.</summary>
    internal void Prefetch(long partition, ReadOnlySpan<ulong> hashes) => _reads.Prefetch(partition, hashes);

    /// <summary>Ends every watch, with <see cref="StoreClosedException"/>, and every wait for an index; no other watch can be opened.</summary>
    internal void EndWatches()
    {
        _context.Watches.End();
        _indexes.EndWaits();
    }

    internal static Store Open(string path, StoreOptions? options, StoreEnvironment environment)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var opening = new StoreOpening(path, options ?? new StoreOptions(), environment);
        bool opened = false;
        try
        {
            opening.Run();
            opened = true;
            return new Store(opening);
        }
        finally
        {
            if (!opened)
            {
                opening.Dispose();
            }
        }
    }

    // The journal is waited for: not on the caller's thread, nor on one of the pool.
    private async Task<CompactionResult> CompactAsync(long partition, KeyRange range, CancellationToken cancellation)
    {
        PartitionCompaction compaction = await Task.Factory.StartNew(
            () => _registry.BeginCompaction(partition, range, cancellation), cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
        return await compaction.Completion.ConfigureAwait(false);
    }
}
