using System.Net;
using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using Xunit;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server;

public sealed class ControlPlaneTests : IAsyncLifetime
{
    private ServerFixture _server = null!;

    public async Task InitializeAsync() =>
        _server = await ServerFixture.StartedAsync(new StoreOptions { CreateDefaultPartition = false });

    public Task DisposeAsync() => _server.DisposeAsync();

    [Fact]
    public async Task PartitionsAreAddedListedAndRemoved()
    {
        await ServerFixture.ProblemAsync(await _server.PutAsync("/kv/a", "1"), 421, "bad-node");
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/kv/a"), 421, "bad-node");
        GrpcReply<WriteResponse> nobody = await _server.Data.CallAsync(
            Methods.Upsert, new UpsertRequest { Puts = { new Put { Key = Utf8("a") } } });
        Assert.Equal((GrpcStatusCode.FailedPrecondition, "bad-node"), (nobody.Status.Code, nobody.Trailers.Get("keyva-status")));

        Wire.Partition first = await AddAsync(new AddPartitionRequest { Range = Range("", "m") });
        Assert.Equal((Wire.EngineKind.Lsm, false, "", "m"), (first.Engine, first.Volatile, first.Range.From.ToStringUtf8(), first.Range.To.ToStringUtf8()));
        Wire.Partition second = await AddAsync(new AddPartitionRequest { Range = Range("m", ""), Engine = Wire.EngineKind.Memory });
        Wire.Partition[] listed = [.. (await _server.Control.CallAsync(Methods.ListPartitions, new ListPartitionsRequest())).GetMessage().Partitions];
        Assert.Equal([first.Id, second.Id], listed.Select(one => one.Id));
        Assert.Equal(HttpStatusCode.NoContent, (await _server.PutAsync("/kv/a", "1")).StatusCode);

        await RefusedAsync(Methods.AddPartition, new AddPartitionRequest { Range = Range("a", "b") }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.AddPartition, new AddPartitionRequest { Range = Range("b", "a") }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.AddPartition, new AddPartitionRequest { Engine = (Wire.EngineKind)9 }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.RemovePartition, new RemovePartitionRequest(), GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.RemovePartition, new RemovePartitionRequest { Id = 99 }, GrpcStatusCode.NotFound, "not-found");
        await RefusedAsync(Methods.RemovePartition, new RemovePartitionRequest { Id = first.Id }, GrpcStatusCode.FailedPrecondition, "condition-failed");

        Assert.Empty(listed[0].Settings);
        GrpcReply<SetPartitionResponse> set = await _server.Control.CallAsync(Methods.SetPartition, new SetPartitionRequest { Id = second.Id, Name = "acknowledgement", Value = "async" });
        Assert.Equal((second.Id, "async"), (set.GetMessage().Partition.Id, Assert.Single(set.GetMessage().Partition.Settings, static one => one.Key == "acknowledgement").Value));
        listed = [.. (await _server.Control.CallAsync(Methods.ListPartitions, new ListPartitionsRequest())).GetMessage().Partitions];
        Assert.Equal([0, 1], listed.Select(static one => one.Settings.Count));
        await RefusedAsync(Methods.SetPartition, new SetPartitionRequest { Id = second.Id, Name = "acknowledgement", Value = "semi-sync=1" }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.SetPartition, new SetPartitionRequest { Id = second.Id, Name = "retention", Value = "1h" }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedAsync(Methods.SetPartition, new SetPartitionRequest { Id = 99, Name = "acknowledgement", Value = "async" }, GrpcStatusCode.NotFound, "not-found");

        GrpcReply<RemovePartitionResponse> removed = await _server.Control.CallAsync(
            Methods.RemovePartition, new RemovePartitionRequest { Id = first.Id, DiscardData = true });
        Assert.Equal(first.Id, removed.GetMessage().Partition.Id);
        await _server.Control.CallAsync(Methods.RemovePartition, new RemovePartitionRequest { Range = Range("m", "") });
        Assert.Empty((await _server.Control.CallAsync(Methods.ListPartitions, new ListPartitionsRequest())).GetMessage().Partitions);
        await ServerFixture.ProblemAsync(await _server.SendAsync("GET", "/kv/a"), 421, "bad-node");
    }

    [Fact]
    public async Task ASnapshotReportsProgressAndEndsWithWhatItHolds()
    {
        Wire.Partition partition = await AddAsync(new AddPartitionRequest());
        for (int i = 0; i < 1000; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"s/{i}"), new byte[100]).IsOk);
        }

        List<SnapshotProgress> progress = await SnapshotAsync(new SnapshotRequest { Partition = partition.Id, Path = "/copy" });
        SnapshotProgress end = progress[^1];
        Assert.All(progress.SkipLast(1), one => Assert.False(one.Done));
        Assert.True(end.Done && end.BytesDone == end.BytesTotal && end.BytesTotal > 0, end.ToString());
        Assert.True(end.Version >= 1000 && end.Index > 0, end.ToString());
        await using Store copy = Store.Open("/copy", null, new StoreEnvironment { FileSystem = _server.Files, Time = _server.Time });
        using ValueLease lease = copy.Get("s/999"u8);
        Assert.Equal(100, lease.Value.Length);
    }

    [Theory]
    [InlineData(99, "/copy", GrpcStatusCode.NotFound, "not-found")]
    [InlineData(1, "copy", GrpcStatusCode.InvalidArgument, "invalid")]
    [InlineData(1, "", GrpcStatusCode.InvalidArgument, "invalid")]
    [InlineData(1, "/data", GrpcStatusCode.InvalidArgument, "invalid")]
    public async Task AnImpossibleSnapshotIsRefused(long partition, string path, GrpcStatusCode code, string status)
    {
        await AddAsync(new AddPartitionRequest());
        GrpcException refused = await Assert.ThrowsAsync<GrpcException>(
            () => SnapshotAsync(new SnapshotRequest { Partition = partition, Path = path }));
        Assert.Equal((code, status), (refused.Code, refused.Trailers.Get("keyva-status")));
    }

    [Fact]
    public async Task ACompactionLeavesWhatIsAliveAndShowsInTheFigures()
    {
        Wire.Partition partition = await AddAsync(new AddPartitionRequest());
        for (int i = 0; i < 2000; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"s/{i % 500}"), new byte[100]).IsOk);
        }

        List<CompactProgress> progress = await CompactAsync(new CompactRequest { Partition = partition.Id });
        Assert.True(progress[^1].Done && progress[^1].BytesWritten > 0, progress[^1].ToString());
        Assert.All(progress.SkipLast(1), one => Assert.False(one.Done));
        Assert.True((await CompactAsync(new CompactRequest { Range = Range("s/1", "s/2") }))[^1].Done);
        Wire.Metric[] metrics = [.. (await _server.Control.CallAsync(Methods.Stats, new StatsRequest())).GetMessage().Metrics];
        double Level(string name, string level) => metrics.Single(metric => metric.Name == "keyva_level_" + name && metric.Labels["level"] == level).Value;
        Assert.Equal((500, 0, 0), (Level("entries", "6"), Level("tombstones", "6"), Level("tables", "0")));
        Assert.True(Level("compactions_total", "6") >= 2);
        Assert.True(metrics.Single(metric => metric.Name == "keyva_engine_write_amplification").Value > 1);

        GrpcException missing = await Assert.ThrowsAsync<GrpcException>(() => CompactAsync(new CompactRequest { Partition = 99 }));
        Assert.Equal((GrpcStatusCode.NotFound, "not-found"), (missing.Code, missing.Trailers.Get("keyva-status")));
        GrpcException empty = await Assert.ThrowsAsync<GrpcException>(() => CompactAsync(new CompactRequest { Range = Range("b", "a") }));
        Assert.Equal(GrpcStatusCode.InvalidArgument, empty.Code);
    }

    [Fact]
    public async Task AScrubReadsEverythingAndNamesWhatIsDamaged()
    {
        Wire.Partition partition = await AddAsync(new AddPartitionRequest());
        for (int i = 0; i < 2000; i++)
        {
            Assert.True(_server.Store.Upsert(ServerFixture.Bytes($"s/{i}"), new byte[100]).IsOk);
        }

        await CompactAsync(new CompactRequest());
        List<ScrubProgress> progress = await ScrubAsync(new ScrubRequest { BytesPerSecond = 1 << 30 });
        Assert.True(progress[^1] is { Done: true, DamageCount: 0 } && progress[^1].BytesRead > 200_000, progress[^1].ToString());
        Assert.All(progress.SkipLast(1), one => Assert.False(one.Done));

        string folder = $"/data/partitions/{partition.Id}";
        string table = $"{folder}/{_server.Files.List(folder).First(name => name.EndsWith(".sst", StringComparison.Ordinal))}";
        _server.Files.Corrupt(table, 600, 4);
        ScrubProgress end = (await ScrubAsync(new ScrubRequest { Partition = partition.Id, BytesPerSecond = 1 << 30 }))[^1];
        Damage damage = Assert.Single(end.Damages);
        Assert.Equal((1, table), (end.DamageCount, damage.File));
        Assert.InRange(damage.Offset, 0, 600);
        Assert.Equal(table, Assert.Single(_server.Store.ScrubDamages).File);

        GrpcException missing = await Assert.ThrowsAsync<GrpcException>(() => ScrubAsync(new ScrubRequest { Partition = 99 }));
        Assert.Equal((GrpcStatusCode.NotFound, "not-found"), (missing.Code, missing.Trailers.Get("keyva-status")));
        GrpcException slow = await Assert.ThrowsAsync<GrpcException>(() => ScrubAsync(new ScrubRequest { BytesPerSecond = 1000 }));
        Assert.Equal(GrpcStatusCode.InvalidArgument, slow.Code);
    }

    private async Task<List<ScrubProgress>> ScrubAsync(ScrubRequest request)
    {
        using GrpcResponses<ScrubProgress> responses = _server.Control.ServerStreaming(Methods.Scrub, request);
        List<ScrubProgress> all = [];
        while (await responses.ReadAsync() is { } one)
        {
            all.Add(one);
        }

        return all;
    }

    private static ByteString Utf8(string text) => ByteString.CopyFromUtf8(text);

    private static Wire.KeyRange Range(string from, string to) => new() { From = Utf8(from), To = Utf8(to) };

    private async Task<Wire.Partition> AddAsync(AddPartitionRequest request) =>
        (await _server.Control.CallAsync(Methods.AddPartition, request)).GetMessage().Partition;

    private async Task<List<SnapshotProgress>> SnapshotAsync(SnapshotRequest request)
    {
        using GrpcResponses<SnapshotProgress> responses = _server.Control.ServerStreaming(Methods.Snapshot, request);
        List<SnapshotProgress> all = [];
        while (await responses.ReadAsync() is { } one)
        {
            all.Add(one);
        }

        return all;
    }

    private async Task<List<CompactProgress>> CompactAsync(CompactRequest request)
    {
        using GrpcResponses<CompactProgress> responses = _server.Control.ServerStreaming(Methods.Compact, request);
        List<CompactProgress> all = [];
        while (await responses.ReadAsync() is { } one)
        {
            all.Add(one);
        }

        return all;
    }

    private async Task RefusedAsync<TRequest, TResponse>(
        GrpcMethod<TRequest, TResponse> method, TRequest request, GrpcStatusCode code, string status)
        where TRequest : class, IMessage<TRequest>
        where TResponse : class, IMessage<TResponse>
    {
        GrpcReply<TResponse> reply = await _server.Control.CallAsync(method, request);
        Assert.Equal((code, status), (reply.Status.Code, reply.Trailers.Get("keyva-status")));
    }
}
