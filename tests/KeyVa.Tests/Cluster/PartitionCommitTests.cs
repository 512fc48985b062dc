using System.Diagnostics;
using System.Globalization;
using System.Text;
using KeyVa.Cluster;
using KeyVa.Cluster.Transport;
using KeyVa.Commits;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Tests.Cluster.Processes;
using KeyVa.Tests.Merges;
using KeyVa.Tests.Watches;
using Xunit;

namespace KeyVa.Tests.Cluster;

/// <summary>Writes over several partitions of a cluster, whose leaders are different nodes.</summary>
public sealed class PartitionCommitTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private static readonly byte[] A = "a"u8.ToArray();
    private static readonly byte[] N = "n"u8.ToArray();
    private static readonly byte[] Z = "z"u8.ToArray();

    [Fact]
    public async Task ABatchIsOneWriteAtOneVersionOnEveryNode()
    {
        await using ThreeNodes cluster = await StartAsync();
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            byte[] value = Bytes(node.Id);
            WriteResult written = await WriteAsync(node, batch => batch.Put(A, value).Put(N, value).Put(Z, value));
            Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
            Assert.True(written.Receipt.IsSet);
            Assert.Equal(written.Receipt, written.PartReceipts![0]);
            Assert.Equal([1, 2, 3], written.PartReceipts.Select(static receipt => receipt.Partition));
            Assert.All(written.PartReceipts, static receipt => Assert.True(receipt is { Term: > 0, Index: > 0, Replicas: >= 2 }, receipt.ToString()));
            foreach (ClusterNode reader in cluster.Nodes.Values)
            {
                Assert.Equal(Status.Ok, await reader.ConfirmReadsAsync());
                foreach (byte[] key in (byte[][])[A, N, Z])
                {
                    ReadResult read = await reader.Store.GetAsync(key);
                    Assert.Equal(value, read.Record.Value.ToArray());
                    Assert.Equal(written.Version, read.Record.Version);
                }
            }
        }

        await NothingIsLeftAsync(cluster);
    }

    [Theory]
    [InlineData("a", 0)]
    [InlineData("n", 1)]
    [InlineData("z", 2)]
    public async Task AConditionThatFailsInOnePartitionLeavesAllAsTheyWere(string present, int failed)
    {
        await using ThreeNodes cluster = await StartAsync();
        ClusterNode node = cluster.Nodes[1];
        WriteResult first = await node.Store.UpsertAsync(Encoding.UTF8.GetBytes(present), Bytes(1));
        Assert.True(first.IsOk);
        var absent = new WriteOptions { Condition = Condition.IfAbsent };
        WriteResult written = await WriteAsync(node, batch => batch.Put(A, Bytes(2), absent).Put(N, Bytes(2), absent).Put(Z, Bytes(2), absent));
        Assert.Equal((Status.ConditionFailed, failed, first.Version), (written.Status, written.FailedOperation, written.CurrentVersion));
        Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
        using (ScanCursor cursor = await node.Store.OpenScanAsync(new ScanOptions()))
        {
            Assert.True(cursor.MoveNext());
            Assert.Equal(present, Encoding.UTF8.GetString(cursor.Key));
            Assert.False(cursor.MoveNext());
        }

        // Nothing holds the partitions up.
        foreach (byte[] key in (byte[][])[A, N, Z])
        {
            Assert.True((await node.Store.UpsertAsync(key, Bytes(3))).IsOk);
        }

        await NothingIsLeftAsync(cluster);
    }

    [Fact]
    public async Task RemovalsMergesAndRangesAreToldAsOnOneNode()
    {
        await using ThreeNodes cluster = await StartAsync();
        ClusterNode node = cluster.Nodes[2];
        Assert.True((await WriteAsync(node, batch => batch.Put(A, Bytes(5)).Put(Z, Bytes(7)))).IsOk);
        WriteResult written = await WriteAsync(node, batch => batch
            .Remove(A).Remove(N).Merge("b"u8, MergeFunction.Increment, "3"u8).Merge("zz"u8, MergeFunction.Increment, "4"u8).Merge("b2"u8, MergeFunction.Increment, "6"u8));
        Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        Assert.Equal([true, false, false, false, false], written.Removed.ToArray());
        Assert.Equal(["3", "4", "6"], written.Merged.Select(static value => Encoding.UTF8.GetString(value.Span)));
        WriteResult range = await node.Store.RemoveRangeAsync("b"u8.ToArray(), "zz"u8.ToArray());
        Assert.Equal((Status.Ok, (string?)null), (range.Status, range.Detail));
        Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
        MultiReadResult left = await node.Store.GetAsync([A, "b"u8.ToArray(), "b2"u8.ToArray(), N, Z, "zz"u8.ToArray()]);
        Assert.Equal(["zz"], left.Records.OfType<Record>().Select(static record => Encoding.UTF8.GetString(record.Key.Span)));
        await NothingIsLeftAsync(cluster);
    }

    [Fact]
    public async Task TransactionsOverPartitionsConflictOrCommitAndSnapshotsSeeAllOrNothing()
    {
        const int transfers = 30;
        await using ThreeNodes cluster = await StartAsync();
        Assert.True((await WriteAsync(cluster.Nodes[1], batch => batch.Put(A, Bytes(100)).Put(N, Bytes(100)).Put(Z, Bytes(100)))).IsOk);
        Assert.Equal(Status.Ok, await cluster.Nodes[1].ConfirmReadsAsync());
        using var done = new CancellationTokenSource();
        Task[] movers = [.. cluster.Nodes.Values.Select(node => Task.Run(async () =>
        {
            byte[][] keys = [A, N, Z];
            var random = new Random((int)node.Id);
            for (int i = 0; i < transfers; i++)
            {
                random.Shuffle(keys);
                Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
                CommitResult moved = await node.Store.TransactAsync(async transaction =>
                {
                    long from = Number((await transaction.GetAsync(keys[0])).Record.Value);
                    long to = Number((await transaction.GetAsync(keys[1])).Record.Value);
                    transaction.Put(keys[0], Bytes(from - 1));
                    transaction.Put(keys[1], Bytes(to + 1));
                });
                Assert.Equal((Status.Ok, (string?)null), (moved.Status, moved.Detail));
            }
        }))];
        Task[] readers = [.. cluster.Nodes.Values.Select(node => Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                MultiReadResult read = await node.Store.GetAsync([A, N, Z]);
                Assert.Equal((Status.Ok, (string?)null), (read.Status, read.Detail));
                Record[] there = [.. read.Records.OfType<Record>()];
                Assert.True(there.Length is 0 or 3, "some of the first batch");
                Assert.True(there.Length == 0 || there.Sum(static record => Number(record.Value)) == 300, string.Join(' ', there.Select(static record => $"{Number(record.Value)}@{record.Version}")));
            }
        }))];
        await Task.WhenAll(movers);
        await done.CancelAsync();
        await Task.WhenAll(readers);
        await NothingIsLeftAsync(cluster);
    }

    [Fact]
    public async Task WhatADeadCoordinatorLeavesIsEndedByTheOthers()
    {
        await using ThreeNodes cluster = await StartAsync();
        await cluster.LeadAsync(1, 2);
        await cluster.LeadAsync(2, 2);
        await cluster.LeadAsync(3, 3);
        Assert.True((await WriteAsync(cluster.Nodes[1], batch => batch.Put(A, Bytes(0)).Put(N, Bytes(0)).Put(Z, Bytes(0)))).IsOk);
        var acknowledged = new List<int>();
        int sent = 0;
        using var stopping = new CancellationTokenSource();
        ClusterNode coordinator = cluster.Take(1);
        Task writing = Task.Run(async () =>
        {
            for (int i = 1; !stopping.IsCancellationRequested; i++)
            {
                sent = i;
                if ((await WriteAsync(coordinator, batch => batch.Put(A, Bytes(i)).Put(N, Bytes(i)).Put(Z, Bytes(i)))).IsOk)
                {
                    acknowledged.Add(i);
                }
            }
        });
        while (Volatile.Read(ref sent) < 20)
        {
            await Task.Yield();
        }

        await coordinator.DisposeAsync();
        await stopping.CancelAsync();
        await writing;
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            Assert.Equal(Status.Ok, await node.ConfirmReadsAsync());
            MultiReadResult read = await node.Store.GetAsync([A, N, Z]);
            Assert.Equal((Status.Ok, (string?)null), (read.Status, read.Detail));
            long[] values = [.. read.Records.Select(static record => Number(record!.Value.Value))];
            Assert.Equal(values[0], values[1]);
            Assert.Equal(values[0], values[2]);
            Assert.InRange(values[0], acknowledged[^1], sent);
        }

        await NothingIsLeftAsync(cluster);
    }

    [Fact]
    public async Task WritesOverPartitionsGoOnWhenALeaderIsGoneAndItHasThemWhenItIsBack()
    {
        await using ThreeNodes cluster = await StartAsync();
        Assert.True((await WriteAsync(cluster.Nodes[1], batch => batch.Put(A, Bytes(0)).Put(N, Bytes(0)))).IsOk);
        await cluster.StopAsync(2);
        for (int i = 1; i < 20; i++)
        {
            WriteResult written = await WriteAsync(cluster.Nodes[1], batch => batch.Put(A, Bytes(i)).Put(N, Bytes(i)).Put(Z, Bytes(i)));
            Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        }

        ClusterNode back = cluster.Open(2, 1, 2, 3);
        Assert.Equal(Status.Ok, await back.ConfirmReadsAsync());
        MultiReadResult read = await back.Store.GetAsync([A, N, Z]);
        Assert.Equal([19L, 19L, 19L], read.Records.Select(static record => Number(record!.Value.Value)));
    }

    [Fact]
    public async Task AReceiptOfLessThanAMajorityIsRefused()
    {
        await using ThreeNodes cluster = await StartAsync();
        using var batch = new WriteBatch { Acknowledgement = Acknowledgement.SemiSync(1) };
        WriteResult written = await cluster.Nodes[1].Store.WriteAsync(batch.Put(A, Bytes(1)).Put(N, Bytes(1)));
        Assert.Equal(Status.Invalid, written.Status);
    }

    [Fact]
    public async Task ABatchMayBeFilledAgainOnceItsWriteWasCancelled()
    {
        using var goOn = new ManualResetEventSlim();
        var stands = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var standing = new Calling(() =>
        {
            stands.TrySetResult();
            Assert.True(goOn.Wait(Patience));
        });
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1, mergeFunctions: [standing], splitAt: [Encoding.UTF8.GetBytes("m")]);
        Store store = cluster.Nodes[1].Store;
        Assert.True((await store.UpsertAsync(A, Bytes(1))).IsOk);
        using var cancelled = new CancellationTokenSource();
        using var batch = new WriteBatch();

        // The node is busy with another write when the batch comes, and looks at it when the batch is an empty one.
        Task<WriteResult> merging = Task.Run(() => store.MergeAsync("b"u8.ToArray(), standing, Bytes(2)).AsTask());
        await stands.Task.WaitAsync(Patience);
        Task<WriteResult> removing = store.WriteAsync(batch.Remove(A).Remove(N), cancelled.Token).AsTask();
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => removing);
        batch.Clear();
        goOn.Set();
        Assert.True((await merging).IsOk);
        WriteResult written = await WriteAsync(cluster.Nodes[1], static next => next.Put("c"u8, Bytes(3)).Put(N, Bytes(3))).WaitAsync(Patience);
        Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        Assert.False((await store.GetAsync(A)).Found);
    }

    [Fact]
    public async Task WhoWaitsWhenANodeStopsHearsWhatWasDecided()
    {
        ThreeNodes cluster = null!;
        Task? stopped = null;
        var stopping = new Calling(() => stopped ??= cluster.Take(1).DisposeAsync().AsTask());
        cluster = ThreeNodes.Start(nodes: 1, mergeFunctions: [stopping], splitAt: [Encoding.UTF8.GetBytes("m")]);
        await using ThreeNodes owned = cluster;
        Store store = cluster.Nodes[1].Store;
        Assert.True((await store.UpsertAsync(A, Bytes(1))).IsOk);
        using var batch = new WriteBatch();

        // It is evaluated where the first partition decides: the node begins to stop before anybody hears of that.
        WriteResult written = await store.WriteAsync(batch.Merge(A, stopping, Bytes(2)).Put(N, Bytes(2))).AsTask().WaitAsync(Patience);
        Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        await stopped!.WaitAsync(Patience);
    }

    [Fact]
    public async Task WhoWritesWhatStopsThePartitionIsTold()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1, mergeFunctions: [new Throwing(true)], splitAt: [Encoding.UTF8.GetBytes("m")]);
        Store store = cluster.Nodes[1].Store;
        Assert.True((await store.UpsertAsync(A, Bytes(1))).IsOk);
        WriteResult written = await store.MergeAsync(A, new Throwing(true), Bytes(2)).AsTask().WaitAsync(Patience);
        Assert.NotEqual(Status.Ok, written.Status);
        written = await WriteAsync(cluster.Nodes[1], batch => batch.Put("b"u8, Bytes(3)).Put(N, Bytes(3))).WaitAsync(Patience);
        Assert.NotEqual(Status.Ok, written.Status);
    }

    [Fact]
    public async Task WatchesAndScansOverPartitionsLetAnIdleClusterRest()
    {
        await using ThreeNodes cluster = ThreeNodes.Start(nodes: 1, splitAt: [Encoding.UTF8.GetBytes("m")]);
        ClusterNode node = cluster.Nodes[1];
        await using WatchReader watch = await WatchReader.OpenAsync(node.Store, "");
        Assert.True((await node.Store.UpsertAsync(A, Bytes(1))).IsOk);
        Assert.Equal("a=1", await watch.NextAsync(1));
        long begun = Stopwatch.GetTimestamp();
        long before = await EntriesAsync(node);
        while (true)
        {
            await Pause.ForAsync(TimeSpan.FromSeconds(1));
            long after = await EntriesAsync(node);
            if (after == before)
            {
                break;
            }

            Assert.True(Stopwatch.GetElapsedTime(begun) < Patience, $"in the last second {after - before} entries were written, and nobody writes");
            before = after;
        }

        for (int i = 0; i < 3; i++)
        {
            using ScanCursor cursor = await node.Store.OpenScanAsync(new ScanOptions());
            Assert.True(cursor.MoveNext());
        }

        Assert.Equal(before, await EntriesAsync(node));
    }

    [Theory]
    [InlineData("n")]
    [InlineData("")]
    public async Task AWatchIsToldOfWritesThatBeginOnceItIsOpen(string prefix)
    {
        await using ThreeNodes cluster = await StartAsync();

        // The second partition's leader is behind in the first, and nothing tells it: what it writes has lower versions.
        cluster.LoseFrom(1, 2);
        for (int i = 0; i < 20; i++)
        {
            Assert.True((await cluster.Nodes[1].Store.UpsertAsync(A, Bytes(i))).IsOk);
        }

        Store store = cluster.Nodes[1].Store;
        using var givenUp = new CancellationTokenSource();
        Task<WatchReader> opening = WatchReader.OpenAsync(store, new WatchOptions { Prefix = Encoding.UTF8.GetBytes(prefix) }, givenUp.Token);
        await Task.WhenAny(opening, Pause.ForAsync(TimeSpan.FromSeconds(1)));
        if (!opening.IsCompleted)
        {
            // It is not open before that leader was reached.
            cluster.Heal();
            await givenUp.CancelAsync();
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => opening);
            Assert.True((await store.UpsertAsync(A, Bytes(20))).IsOk);
            opening = WatchReader.OpenAsync(store, prefix);
        }

        await using WatchReader watch = await opening;
        Task<WriteResult> writing = cluster.Nodes[2].Store.UpsertAsync(N, Bytes(1)).AsTask();
        await Task.WhenAny(writing, Pause.ForAsync(TimeSpan.FromSeconds(1)));
        cluster.Heal();
        WriteResult written = await writing;
        Assert.True(written.IsOk && written.Version > watch.Begun, $"{written.Status}: {written.Version} is not above {watch.Begun}");
        Assert.Equal("n=1", await watch.NextAsync(1).WaitAsync(Patience));
    }

    [Fact]
    public async Task ACopyOfAPreparedPartitionBeginsAClusterOfItsOwn()
    {
        var disk = new MemoryFileSystem();
        var environment = new StoreEnvironment { FileSystem = disk };
        var options = new StoreOptions { JournalSegmentBytes = 1 << 20, MemtableBytes = 1 << 20, BlockCacheBytes = 1 << 20 };
        await using (Store alone = Store.Open("/alone", options, environment))
        {
            Assert.True((await alone.UpsertAsync(N, Bytes(1))).IsOk);

            // As between the prepare of one commit and its end, and between the decision of another and the end of its other parts.
            Engine engine = ((PartitionRegistry)alone.Partitions).Map.Find(N)!.Engine;
            long deadline = engine.VisibleStamp + 60_000;
            engine.Commits.Prepare(new PreparedPart(new TransactionId(1, 1), First: 7, deadline, engine.VisibleVersion, engine.VisibleStamp, engine.AppliedIndex, []));
            engine.Commits.Decide(new TransactionId(1, 2), new Decision(engine.VisibleVersion, deadline, [8, 9]));
            Assert.True((await alone.UpsertAsync(Z, Bytes(2))).IsOk);
            PartitionSnapshotResult copied = await alone.Partitions.BeginSnapshot(1, "/copy").Completion;
            Assert.Equal((Status.Ok, (string?)null), (copied.Status, copied.Detail));
        }

        // None of the other partitions are there.
        await using ClusterNode copy = ClusterNode.Open(
            "/copy",
            options,
            new ClusterOptions
            {
                Name = "copy",
                Node = 1,
                Peers = new Dictionary<long, ClusterPeer> { [1] = new("127.0.0.1", 7001) },
                ElectionTimeout = ThreeNodes.ShortElectionTimeout,
                RequestTimeout = TimeSpan.FromSeconds(30),
            },
            new InProcessNetwork().Join(1, disk),
            environment);
        WriteResult written = await copy.Store.UpsertAsync("nn"u8.ToArray(), Bytes(3));
        Assert.Equal((Status.Ok, (string?)null), (written.Status, written.Detail));
        while (!copy.AreCommitsEnded())
        {
            Assert.Equal(Status.Ok, await copy.ConfirmReadsAsync());
        }

        Assert.Equal(2, Number((await copy.Store.GetAsync(Z)).Record.Value));
    }

    private static async Task<long> EntriesAsync(ClusterNode node) => (await node.GetStatusAsync()).Sum(static status => status.LastIndex);

    private static async Task<ThreeNodes> StartAsync()
    {
        ThreeNodes cluster = ThreeNodes.Start(splitAt: ["m"u8.ToArray(), "t"u8.ToArray()]);
        await cluster.LeadAsync(1, 1);
        await cluster.LeadAsync(2, 2);
        await cluster.LeadAsync(3, 3);
        return cluster;
    }

    /// <summary>In the end nothing is prepared, and no decision is kept, anywhere.</summary>
    private static async Task NothingIsLeftAsync(ThreeNodes cluster)
    {
        foreach (ClusterNode node in cluster.Nodes.Values)
        {
            while (!node.AreCommitsEnded())
            {
                await node.ConfirmReadsAsync();
            }
        }
    }

    private static async Task<WriteResult> WriteAsync(ClusterNode node, Func<WriteBatch, WriteBatch> fill)
    {
        using var batch = new WriteBatch();
        return await node.Store.WriteAsync(fill(batch));
    }

    private static byte[] Bytes(long number) => Encoding.UTF8.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    private static long Number(ReadOnlyMemory<byte> value) => long.Parse(value.Span, CultureInfo.InvariantCulture);
}
