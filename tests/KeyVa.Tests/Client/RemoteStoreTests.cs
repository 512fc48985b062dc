using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Client;

public sealed class RemoteStoreTests
{
    [Fact]
    public async Task ARemoteStoreAnswersAsAModel()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        const int Seed = 11;
        Random random = new(Seed);
        SortedDictionary<string, (byte[] Value, long Version)> model = new(StringComparer.Ordinal);
        for (int i = 0; i < 800; i++)
        {
            string key = $"k{random.Next(40):00}";
            byte[] value = new byte[random.Next(200)];
            random.NextBytes(value);
            switch (random.Next(6))
            {
                case 0:
                    ReadResult read = await store.GetAsync(Bytes(key));
                    Assert.True(read.Found == model.ContainsKey(key), $"seed {Seed}, step {i}");
                    if (read.Found)
                    {
                        Assert.Equal(model[key], (read.Record.Value.ToArray(), read.Record.Version), new RecordComparer());
                    }

                    break;
                case 1:
                    WriteResult removed = await store.RemoveAsync(Bytes(key));
                    Assert.Equal(model.Remove(key) ? Status.Ok : Status.NotFound, removed.Status);
                    break;
                case 2:
                    Condition condition = random.Next(3) switch
                    {
                        0 => Condition.IfAbsent,
                        1 => Condition.IfPresent,
                        _ => Condition.IfVersion(model.TryGetValue(key, out var at) && random.Next(2) == 0 ? at.Version : 999_999),
                    };
                    bool holds = condition.Kind switch
                    {
                        ConditionKind.IfAbsent => !model.ContainsKey(key),
                        ConditionKind.IfPresent => model.ContainsKey(key),
                        _ => model.TryGetValue(key, out var held) && held.Version == condition.Version,
                    };
                    WriteResult conditional = await store.UpsertAsync(Bytes(key), value, new WriteOptions { Condition = condition });
                    Assert.Equal(holds ? Status.Ok : Status.ConditionFailed, conditional.Status);
                    if (holds)
                    {
                        model[key] = (value, conditional.Version);
                    }
                    else
                    {
                        Assert.Equal(model.TryGetValue(key, out var now) ? now.Version : 0, conditional.CurrentVersion);
                    }

                    break;
                case 3:
                    await WriteBatchAsync(store, model, random, value);
                    break;
                case 4:
                    WriteResult written = await store.UpsertAsync(Bytes(key), value);
                    Assert.True(written.IsOk);
                    model[key] = (value, written.Version);
                    break;
                default:
                    await CompareScanAsync(store, model, random);
                    break;
            }
        }
    }

    [Fact]
    public async Task SeveralKeysAreReadAtOnce()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        await store.UpsertAsync(Bytes("a"), Bytes("1"));
        MultiReadResult result = await store.GetAsync([Bytes("b"), Bytes("a")]);
        Assert.Equal(Status.Ok, result.Status);
        Assert.Null(result.Records[0]);
        Assert.Equal("1", Encoding.UTF8.GetString(result.Records[1]!.Value.Value.Span));
    }

    [Fact]
    public async Task RefusalsAreValuesWithTheirReason()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { CreateDefaultPartition = false });
        await using RemoteStore store = server.Connect();
        Assert.Equal(Status.BadNode, (await store.GetAsync(Bytes("a"))).Status);
        await using RemoteControl control = server.ConnectControl();
        Assert.Equal(Status.Ok, (await control.AddPartitionAsync(KeyRange.All)).Status);
        WriteResult big = await store.UpsertAsync(Bytes("a"), new byte[2 << 20]);
        Assert.Equal(Status.TooLarge, big.Status);
        Assert.Contains("1048576", big.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Invalid, (await store.UpsertAsync(default, Bytes("x"))).Status);
        RefusedException range = await Assert.ThrowsAsync<RefusedException>(async () =>
        {
            await foreach (Record _ in store.ScanAsync(new ScanOptions { From = Bytes("b"), To = Bytes("a") }))
            {
            }
        });
        Assert.Equal(Status.Invalid, range.Status);
    }

    [Fact]
    public async Task AScanSeesOneSnapshot()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        using WriteBatch batch = new();
        for (int i = 0; i < 3000; i++)
        {
            batch.Put(Bytes($"{i:0000}"), new byte[100]);
        }

        Assert.True((await store.WriteAsync(batch)).IsOk);
        int records = 0;
        await foreach (Record record in store.ScanAsync(new ScanOptions()))
        {
            if (records++ == 0)
            {
                Assert.True((await store.UpsertAsync(Bytes("2999"), Bytes("new"))).IsOk);
                Assert.True((await store.UpsertAsync(Bytes("3000"), Bytes("new"))).IsOk);
            }

            Assert.Equal(100, record.Value.Length);
        }

        Assert.Equal(3000, records);
    }

    [Fact]
    public async Task ManyBatchesGoOverOneStreamInOrder()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        (WriteResult result, long records) = await store.BulkUpsertAsync(Batches(50, big: -1));
        Assert.Equal((Status.Ok, 500), (result.Status, records));
        Assert.Equal("49", Encoding.UTF8.GetString((await store.GetAsync(Bytes("0"))).Record.Value.Span));
        (result, _) = await store.BulkUpsertAsync(Batches(5, big: 3));
        Assert.Equal(Status.TooLarge, result.Status);
    }

    [Fact]
    public async Task ASortedStreamIsOneLoadAndAKeyOutOfOrderEndsItWithNothing()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        (WriteResult result, long records) = await store.BulkLoadAsync(Sorted(0, 3000, last: null));
        Assert.Equal((Status.Ok, 3000), (result.Status, records));
        Assert.Equal(result.Version, (await store.GetAsync(Bytes("s00000"))).Record.Version);
        Assert.Equal(result.Version, (await store.GetAsync(Bytes("s02999"))).Record.Version);
        (result, records) = await store.BulkLoadAsync(Sorted(3000, 4000, last: "s03500"));
        Assert.Equal((Status.Invalid, 0), (result.Status, records));
        Assert.Contains("record 1001 of the load: its key 's03500' comes before the one added last, 's03999'", result.Detail, StringComparison.Ordinal);
        Assert.False((await store.GetAsync(Bytes("s03000"))).Found);
    }

    private static async IAsyncEnumerable<WriteBatch> Sorted(int from, int to, string? last)
    {
        using WriteBatch batch = new();
        for (int i = from; i < to; i++)
        {
            batch.Put(Bytes($"s{i:00000}"), Bytes("value"));
            if (batch.Count == 100)
            {
                yield return batch;
                await Task.Yield();
                batch.Clear();
            }
        }

        if (last is not null)
        {
            yield return batch.Put(Bytes(last), Bytes("value"));
        }
    }

    [Fact]
    public async Task RangesAreRemovedAsInAnEmbeddedStore()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        using WriteBatch batch = new();
        foreach (string key in new[] { "a", "b", "c", "d" })
        {
            batch.Put(Bytes(key), Bytes("1"));
        }

        Assert.True((await store.WriteAsync(batch)).IsOk);
        WriteResult removed = await store.RemoveRangeAsync(Bytes("b"), Bytes("c"));
        Assert.True(removed.IsOk && removed.Version > 1);
        Assert.Equal(Status.Invalid, (await store.RemoveRangeAsync(Bytes("b"), Bytes("a"))).Status);
        batch.Clear();
        batch.Put(Bytes("e"), Bytes("1")).Remove(Bytes("x")).RemoveRange(Bytes("d"), default).Remove(Bytes("a"));
        WriteResult written = await store.WriteAsync(batch);
        Assert.Equal([false, false, true, true], written.Removed.ToArray());
        Assert.Equal([false, false, true, false, true], (await store.GetAsync([Bytes("a"), Bytes("b"), Bytes("c"), Bytes("d"), Bytes("e")])).Records.Select(record => record is not null));
        Assert.True((await store.RemoveRangeAsync(default, default)).IsOk);
        Assert.False((await store.GetAsync(Bytes("c"))).Found);
        batch.Clear();
        Assert.True((await store.WriteAsync(batch.RemoveRange(default, default))).IsOk);
    }

    [Fact]
    public async Task AServerThatIsNotThereIsNamed()
    {
        await using RemoteStore store = RemoteStore.Connect($"127.0.0.1:{Ports.Take()}", new RemoteOptions { ConnectRetries = 1, RetryPause = TimeSpan.FromMilliseconds(1) });
        ServerUnreachableException lost = await Assert.ThrowsAsync<ServerUnreachableException>(() => store.UpsertAsync(Bytes("a"), Bytes("1")).AsTask());
        Assert.True(lost.NothingSent);
        Assert.Equal(store.Address, lost.Address);
        Assert.Contains(store.Address.ToString(), lost.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AServerThatSaysNothingIsNotWaitedForForEver()
    {
        using TcpListener silent = new(IPAddress.Loopback, 0);
        silent.Start();
        await using RemoteStore store = RemoteStore.Connect(silent.LocalEndpoint.ToString()!, new RemoteOptions { Deadline = TimeSpan.FromSeconds(3) });
        long began = Stopwatch.GetTimestamp();
        // It asks for a session first.
        ServerUnreachableException late = await Assert.ThrowsAsync<ServerUnreachableException>(() => store.UpsertAsync(Bytes("a"), Bytes("1")).AsTask());
        Assert.Contains("did not answer within 3 s; the write was not sent", late.Message, StringComparison.Ordinal);
        Assert.True(late.NothingSent);
        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 2.5, 60);
        await using RemoteStore once = RemoteStore.Connect(silent.LocalEndpoint.ToString()!, new RemoteOptions { Deadline = TimeSpan.FromSeconds(3), WriteRetries = 0 });
        late = await Assert.ThrowsAsync<ServerUnreachableException>(() => once.UpsertAsync(Bytes("a"), Bytes("1")).AsTask());
        Assert.Contains("did not answer within 3 s; whether the write happened is unknown", late.Message, StringComparison.Ordinal);
        Assert.False(late.NothingSent);
        await using RemoteStore patient = RemoteStore.Connect(silent.LocalEndpoint.ToString()!);
        using CancellationTokenSource cancelled = new(100);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => patient.GetAsync(Bytes("a"), cancelled.Token).AsTask());
    }

    [Fact]
    public async Task AReadSurvivesARestartOfItsServer()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect(new RemoteOptions { ConnectRetries = 40 });
        Assert.True((await store.UpsertAsync(Bytes("a"), Bytes("1"))).IsOk);
        await server.StopAsync();
        Task<ReadResult> read = store.GetAsync(Bytes("a")).AsTask();
        await server.RestartAsync();
        Assert.True((await read).Found);
        Assert.True((await store.UpsertAsync(Bytes("a"), Bytes("2"))).IsOk);
    }

    [Fact]
    public async Task TheControlPlaneAddsRemovesAndCopiesPartitions()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { CreateDefaultPartition = false });
        await using RemoteControl control = server.ConnectControl();
        await using RemoteStore store = server.Connect();
        PartitionResult low = await control.AddPartitionAsync(new KeyRange(default, Bytes("m")));
        Assert.Equal(Status.Ok, low.Status);
        Assert.Equal(Status.Invalid, (await control.AddPartitionAsync(new KeyRange(Bytes("a"), Bytes("b")))).Status);
        PartitionResult high = await control.AddPartitionAsync(new KeyRange(Bytes("m"), default), EngineKind.Memory, isVolatile: true);
        Assert.True(high.Partition!.Volatile);
        Assert.True((await store.UpsertAsync(Bytes("a"), Bytes("1"))).IsOk);
        Assert.Equal(Status.ConditionFailed, (await control.RemovePartitionAsync(low.Partition!.Id)).Status);
        string copy = Path.Combine(server.Directory, "..", Path.GetFileName(server.Directory) + "-copy");
        SnapshotReport last = default;
        await foreach (SnapshotReport report in control.SnapshotAsync(low.Partition.Id, Path.GetFullPath(copy)))
        {
            last = report;
        }

        Assert.True(last.Done);
        await using (Store opened = Store.Open(copy))
        {
            Assert.True((await opened.GetAsync(Bytes("a"))).Found);
        }

        Directory.Delete(copy, recursive: true);
        PartitionResult set = await control.SetPartitionAsync(low.Partition.Id, PartitionSettings.AcknowledgementName, "async");
        Assert.Equal((Status.Ok, Acknowledgement.Async), (set.Status, set.Partition!.Settings.Acknowledgement));
        Assert.Equal([Acknowledgement.Async, default], (await control.ListPartitionsAsync()).Select(static one => one.Settings.Acknowledgement));
        PartitionResult unset = await control.SetPartitionAsync(low.Partition.Id, PartitionSettings.AcknowledgementName, "all");
        Assert.Equal(Status.Invalid, unset.Status);
        Assert.Contains("allowed is", unset.Detail, StringComparison.Ordinal);
        Assert.Equal([low.Partition.Id, high.Partition.Id], (await control.ListPartitionsAsync()).Select(partition => partition.Id));
        Assert.Equal(Status.Ok, (await control.RemovePartitionAsync(new KeyRange(Bytes("m"), default), discardData: true)).Status);
        Assert.Equal(Status.NotFound, (await control.RemovePartitionAsync(999)).Status);
        Assert.Contains(await control.StatsAsync(), metric => metric.Name == "keyva_sets_total" && metric.Value == 1);
        await Assert.ThrowsAsync<RefusedException>(async () =>
        {
            await foreach (SnapshotReport _ in control.SnapshotAsync(999, copy))
            {
            }
        });
    }

    [Theory]
    [InlineData("localhost", "localhost:7401")]
    [InlineData("127.0.0.1:80", "127.0.0.1:80")]
    [InlineData("http://host.example:1/", "host.example:1")]
    [InlineData("[::1]", "[::1]:7401")]
    [InlineData("[::1]:9", "[::1]:9")]
    public void AddressesAreReadAsPeopleWriteThem(string text, string address) => Assert.Equal(address, ServerAddress.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData(":7401")]
    [InlineData("host:0")]
    [InlineData("host:65536")]
    [InlineData("host:x")]
    [InlineData("::1")]
    [InlineData("a b")]
    public void OtherAddressesAreRefused(string text) => Assert.Throws<FormatException>(() => ServerAddress.Parse(text));

    private static async IAsyncEnumerable<WriteBatch> Batches(int count, int big)
    {
        for (int i = 0; i < count; i++)
        {
            await Task.Yield();
            using WriteBatch batch = new();
            for (int key = 0; key < 10; key++)
            {
                batch.Put(Bytes($"{key}"), i == big ? new byte[2 << 20] : Bytes($"{i}"));
            }

            yield return batch;
        }
    }

    private static async Task WriteBatchAsync(RemoteStore store, SortedDictionary<string, (byte[] Value, long Version)> model, Random random, byte[] value)
    {
        using WriteBatch batch = new();
        List<(string Key, bool IsPut)> operations = [];
        foreach (int number in Enumerable.Range(0, 40).OrderBy(_ => random.Next()).Take(random.Next(1, 8)))
        {
            string key = $"k{number:00}";
            bool isPut = random.Next(3) > 0;
            operations.Add((key, isPut));
            _ = isPut ? batch.Put(Bytes(key), value) : batch.Remove(Bytes(key));
        }

        WriteResult result = await store.WriteAsync(batch);
        Assert.True(result.IsOk);
        for (int i = 0; i < operations.Count; i++)
        {
            (string key, bool isPut) = operations[i];
            bool was = model.Remove(key);
            Assert.Equal(!isPut && was, !result.Removed.IsEmpty && result.Removed.Span[i]);
            if (isPut)
            {
                model[key] = (value, result.Version);
            }
        }
    }

    private static async Task CompareScanAsync(RemoteStore store, SortedDictionary<string, (byte[] Value, long Version)> model, Random random)
    {
        string from = $"k{random.Next(40):00}";
        bool reverse = random.Next(2) == 0;
        int limit = random.Next(1, 20);
        IEnumerable<string> expected = model.Keys.Where(key => string.CompareOrdinal(key, from) >= 0);
        expected = (reverse ? expected.Reverse() : expected).Take(limit);
        List<string> found = [];
        await foreach (Record record in store.ScanAsync(new ScanOptions { From = Bytes(from), Reverse = reverse, Limit = limit }))
        {
            found.Add(Encoding.UTF8.GetString(record.Key.Span));
        }

        Assert.Equal(expected, found);
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private sealed class RecordComparer : IEqualityComparer<(byte[] Value, long Version)>
    {
        public bool Equals((byte[] Value, long Version) x, (byte[] Value, long Version) y) =>
            x.Version == y.Version && x.Value.AsSpan().SequenceEqual(y.Value);

        public int GetHashCode((byte[] Value, long Version) obj) => obj.Version.GetHashCode();
    }
}
