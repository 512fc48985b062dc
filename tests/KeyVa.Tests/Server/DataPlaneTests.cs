using Google.Protobuf;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.V1;
using KeyVa.Server;
using Xunit;
using Wire = KeyVa.Protocol.V1;

namespace KeyVa.Tests.Server;

public sealed class DataPlaneTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task OneKeyIsWrittenReadAndRemoved()
    {
        WriteResponse written = await UpsertAsync(new Put { Key = Utf8("one"), Value = Utf8("1"), TtlMs = 60_000 });
        Wire.Record record = (await GetAsync("one")).Records.Single();
        Assert.Equal((true, "1", written.Version), (record.Found, record.Value.ToStringUtf8(), record.Version));
        Assert.Equal(server.Time.UnixMilliseconds, record.ModifiedUnixMs);
        Assert.Equal(server.Time.UnixMilliseconds + 60_000, record.ExpiresAtUnixMs);
        Assert.Equal([true], (await RemoveAsync("one")).Removed);
        Assert.False((await GetAsync("one")).Records.Single().Found);
        Assert.Equal([false], (await RemoveAsync("one")).Removed);
    }

    [Fact]
    public async Task SeveralKeysAreWrittenAtOneVersionAndReadInOrder()
    {
        WriteResponse written = await UpsertAsync(
            new Put { Key = Utf8("m1"), Value = Utf8("a") }, new Put { Key = Utf8("m2"), Value = ByteString.Empty });
        GetResponse read = await GetAsync("m2", "m-none", "m1", "m2");
        Assert.Equal([true, false, true, true], read.Records.Select(one => one.Found));
        Assert.Equal(["m2", "m-none", "m1", "m2"], read.Records.Select(one => one.Key.ToStringUtf8()));
        Assert.Equal([written.Version, 0, written.Version, written.Version], read.Records.Select(one => one.Version));
        Assert.Equal([true, false, true], (await RemoveAsync("m1", "m-none", "m2")).Removed);
    }

    [Fact]
    public async Task ABatchSaysForEachRemovalWhetherTheKeyWasThere()
    {
        await UpsertAsync(new Put { Key = Utf8("w-here"), Value = Utf8("1") });
        WriteRequest request = new()
        {
            Operations =
            {
                new Wire.Operation { Remove = new Removal { Key = Utf8("w-none") } },
                new Wire.Operation { Put = new Put { Key = Utf8("w-new"), Value = Utf8("x") } },
                new Wire.Operation { Remove = new Removal { Key = Utf8("w-here") } },
            },
        };
        Assert.Equal([false, true], (await server.Data.CallAsync(Methods.Write, request)).GetMessage().Removed);
    }

    [Fact]
    public async Task ABatchRemovesRanges()
    {
        await UpsertAsync(new Put { Key = Utf8("range-a"), Value = Utf8("1") }, new Put { Key = Utf8("range-b"), Value = Utf8("1") });
        WriteRequest request = new()
        {
            Operations =
            {
                new Wire.Operation { RemoveRange = new RangeRemoval { Prefix = Utf8("range-") } },
                new Wire.Operation { Put = new Put { Key = Utf8("range-b"), Value = Utf8("new") } },
                new Wire.Operation { Remove = new Removal { Key = Utf8("range-none") } },
                new Wire.Operation { RemoveRange = new RangeRemoval { From = Utf8("range-x"), To = Utf8("range-y") } },
            },
        };
        Assert.Equal([false], (await server.Data.CallAsync(Methods.Write, request)).GetMessage().Removed);
        Assert.Equal([false, true], (await GetAsync("range-a", "range-b")).Records.Select(one => one.Found));
        foreach (RangeRemoval wrong in new[]
        {
            new RangeRemoval(), new RangeRemoval { All = true, From = Utf8("a") }, new RangeRemoval { Prefix = Utf8("a"), To = Utf8("b") },
            new RangeRemoval { From = Utf8("b"), To = Utf8("a") },
        })
        {
            request = new() { Operations = { new Wire.Operation { RemoveRange = wrong } } };
            Refused(await server.Data.CallAsync(Methods.Write, request), GrpcStatusCode.InvalidArgument, "invalid");
        }
    }

    [Fact]
    public async Task ARefusedConditionSaysWhichOneAndWhatIsThere()
    {
        WriteResponse here = await UpsertAsync(new Put { Key = Utf8("c-here"), Value = Utf8("1") });
        UpsertRequest request = new()
        {
            Puts =
            {
                new Put { Key = Utf8("c-new"), Value = Utf8("x") },
                new Put { Key = Utf8("c-here"), Value = Utf8("x"), Condition = new Wire.Condition { IfVersion = here.Version + 1000 } },
            },
        };
        GrpcReply<WriteResponse> reply = await server.Data.CallAsync(Methods.Upsert, request);
        Refused(reply, GrpcStatusCode.FailedPrecondition, "condition-failed");
        Assert.Equal("1", reply.Trailers.Get("keyva-failed-operation"));
        Assert.Equal(here.Version.ToString(), reply.Trailers.Get("keyva-current-version"));
        Assert.False((await GetAsync("c-new")).Records.Single().Found);
        foreach (Wire.Condition held in new[]
        {
            new Wire.Condition { IfPresent = true }, new Wire.Condition { IfValue = Utf8("1") },
            new Wire.Condition { IfVersion = here.Version },
        })
        {
            Put put = new() { Key = Utf8("c-here"), Value = Utf8("1"), Condition = held };
            here = held.KindCase == Wire.Condition.KindOneofCase.IfVersion ? here : await UpsertAsync(put);
        }

        Refused(
            await server.Data.CallAsync(Methods.Upsert, new UpsertRequest
            {
                Puts = { new Put { Key = Utf8("c-here"), Condition = new Wire.Condition { IfAbsent = true } } },
            }),
            GrpcStatusCode.FailedPrecondition, "condition-failed");
    }

    public static TheoryData<string> BrokenRules => ["empty", "no-keys", "no-puts", "long-key", "twice", "if-false", "ttl", "no-kind", "large"];

    [Theory]
    [MemberData(nameof(BrokenRules))]
    public async Task ABrokenRuleIsAnInvalidArgument(string rule)
    {
        Put put = new() { Key = Utf8("rule"), Value = Utf8("x") };
        GrpcReply<WriteResponse> reply = default;
        switch (rule)
        {
            case "empty":
                put.Key = ByteString.Empty;
                break;
            case "long-key":
                put.Key = ByteString.CopyFrom(new byte[8193]);
                break;
            case "if-false":
                put.Condition = new Wire.Condition { IfAbsent = false };
                break;
            case "ttl":
                put.TtlMs = 0;
                break;
            case "large":
                put.Value = ByteString.CopyFrom(new byte[(1 << 20) + 1]);
                break;
            case "no-keys":
                Refused(await server.Data.CallAsync(Methods.Get, new GetRequest()), GrpcStatusCode.InvalidArgument, "invalid");
                return;
            case "no-kind":
                reply = await server.Data.CallAsync(Methods.Write, new WriteRequest { Operations = { new Wire.Operation() } });
                break;
            default:
                break;
        }

        UpsertRequest request = new();
        for (int i = 0; i < rule switch { "no-puts" => 0, "twice" => 2, _ => 1 }; i++)
        {
            request.Puts.Add(put);
        }

        reply = rule == "no-kind" ? reply : await server.Data.CallAsync(Methods.Upsert, request);
        Refused(reply, GrpcStatusCode.InvalidArgument, rule is "long-key" or "large" ? "too-large" : "invalid");
        Assert.False((await GetAsync("rule")).Records.Single().Found);
    }

    [Fact]
    public async Task AValueOfOneMiBTravelsBothWays()
    {
        byte[] value = new byte[1 << 20];
        new Random(7).NextBytes(value);
        await UpsertAsync(new Put { Key = Utf8("large"), Value = ByteString.CopyFrom(value) });
        Assert.Equal(value, (await GetAsync("large")).Records.Single().Value.ToByteArray());
    }

    [Fact]
    public async Task TooManyKeysAtOnceAreRefused()
    {
        GetRequest request = new();
        request.Keys.AddRange(Enumerable.Repeat(Utf8("k"), DataPlane.MaxGetKeys + 1));
        Refused(await server.Data.CallAsync(Methods.Get, request), GrpcStatusCode.InvalidArgument, "too-large");
    }

    [Fact]
    public async Task AScanComesInPagesAndCanBeResumedAtEachOfThem()
    {
        for (int i = 0; i < 2000; i++)
        {
            Assert.True(server.Store.Upsert(ServerFixture.Bytes($"scan/{i:d4}"), new byte[200]).IsOk);
        }

        List<ScanResponse> pages = await ScanAsync(new ScanRequest { Prefix = Utf8("scan/") });
        Assert.InRange(pages.Count, 3, 20);
        Assert.Equal(2000, pages.Sum(page => page.Records.Count));
        Assert.All(pages.SkipLast(1), page => Assert.Equal(page.Records[^1].Key, page.Resume));
        Assert.True(pages[^1].Resume.IsEmpty);
        Assert.Equal(Enumerable.Range(0, 2000).Select(i => $"scan/{i:d4}"), Keys(pages));
        List<ScanResponse> rest = await ScanAsync(new ScanRequest { Prefix = Utf8("scan/"), After = pages[1].Resume });
        Assert.Equal(Keys(pages.Skip(2)), Keys(rest));
        List<ScanResponse> limited = await ScanAsync(new ScanRequest { From = Utf8("scan/1"), To = Utf8("scan/2"), Limit = 3, KeysOnly = true });
        Assert.Equal("scan/1002", limited.Single().Resume.ToStringUtf8());
        Assert.All(limited.Single().Records, record => Assert.True(record.Value.IsEmpty));
        Assert.Equal(["scan/1999", "scan/1998"], Keys(await ScanAsync(new ScanRequest { Prefix = Utf8("scan/"), Reverse = true, Limit = 2 })));
        Assert.Empty(await ScanAsync(new ScanRequest { Prefix = Utf8("nothing/") }));
    }

    [Fact]
    public async Task ARangeThatEndsBeforeItBeginsIsRefused()
    {
        await RefusedScanAsync(new ScanRequest { From = Utf8("b"), To = Utf8("a") }, GrpcStatusCode.InvalidArgument, "invalid");
        await RefusedScanAsync(new ScanRequest { Limit = -1 }, GrpcStatusCode.InvalidArgument, "invalid");
    }

    [Fact]
    public async Task AScanThatIsDroppedReleasesItsSnapshot()
    {
        for (int i = 0; i < 64; i++)
        {
            Assert.True(server.Store.Upsert(ServerFixture.Bytes($"drop/{i:d2}"), new byte[1 << 20]).IsOk);
        }

        int before = server.Store.GetStatistics().OpenSnapshots;
        using (GrpcResponses<ScanResponse> responses = server.Data.ServerStreaming(Methods.Scan, new ScanRequest { Prefix = Utf8("drop/") }))
        {
            Assert.NotNull(await responses.ReadAsync());
            Assert.True(server.Store.GetStatistics().OpenSnapshots > before);
        }

        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(10));
        while (server.Store.GetStatistics().OpenSnapshots > before)
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }
    }

    [Theory]
    [InlineData("keyva-forward", "maybe", false)]
    [InlineData("keyva-forward", "", false)]
    [InlineData("keyva-forward", "no", true)]
    [InlineData("keyva-forward", "yes", true)]
    [InlineData("keyva-consistency", "eventual", false)]
    [InlineData("keyva-consistency", "max-staleness=5", false)]
    [InlineData("keyva-consistency", "max-staleness=99999999999999999999d", false)]
    [InlineData("keyva-consistency", "max-staleness=5s", true)]
    [InlineData("keyva-consistency", "local", true)]
    [InlineData("keyva-consistency", "linearizable", true)]
    public async Task HowACallIsToBeServedIsClearAlsoWhereNoOtherNodeIs(string name, string value, bool isClear)
    {
        GrpcCallOptions options = new() { Metadata = new GrpcMetadata().Add(name, value) };
        GrpcReply<GetResponse> read = await server.Data.CallAsync(Methods.Get, new GetRequest { Keys = { Utf8("clear") } }, options);
        AssertClear(read.Status, read.Trailers, isClear);
        using GrpcResponses<ScanResponse> scan = server.Data.ServerStreaming(Methods.Scan, new ScanRequest { Prefix = Utf8("clear") }, options);
        if (isClear)
        {
            Assert.Null(await scan.ReadAsync());
        }
        else
        {
            GrpcException refused = await Assert.ThrowsAsync<GrpcException>(async () => await scan.ReadAsync());
            AssertClear(refused.Status, refused.Trailers, isClear);
        }

        // How fresh it is is nothing to a write.
        isClear |= name == "keyva-consistency";
        GrpcReply<WriteResponse> write = await server.Data.CallAsync(Methods.Remove, new RemoveRequest { Removals = { new Removal { Key = Utf8("clear") } } }, options);
        AssertClear(write.Status, write.Trailers, isClear);
        using GrpcUpload<BulkUpsertRequest, BulkUpsertResponse> upload = server.Data.ClientStreaming(Methods.BulkUpsert, options);
        GrpcReply<BulkUpsertResponse> bulk = await upload.FinishAsync();
        AssertClear(bulk.Status, bulk.Trailers, isClear);
    }

    private static void AssertClear(GrpcStatus status, GrpcMetadata trailers, bool isClear)
    {
        Assert.Equal(isClear ? GrpcStatusCode.Ok : GrpcStatusCode.InvalidArgument, status.Code);
        Assert.Equal(isClear ? null : "invalid", trailers.Get("keyva-status"));
    }

    [Fact]
    public async Task ABulkUpsertWritesItsMessagesInOrder()
    {
        using GrpcUpload<BulkUpsertRequest, BulkUpsertResponse> upload = server.Data.ClientStreaming(Methods.BulkUpsert);
        for (int i = 0; i < 300; i++)
        {
            BulkUpsertRequest request = new() { Puts = { new Put { Key = Utf8("bulk/last"), Value = Utf8($"{i}") } } };
            for (int j = 0; j < 10; j++)
            {
                request.Puts.Add(new Put { Key = Utf8($"bulk/{i:d3}/{j}"), Value = Utf8("v") });
            }

            Assert.True(await upload.WriteAsync(request));
        }

        BulkUpsertResponse done = (await upload.FinishAsync()).GetMessage();
        Assert.Equal(3300, done.Records);
        Wire.Record last = (await GetAsync("bulk/last")).Records.Single();
        Assert.Equal(("299", done.Version), (last.Value.ToStringUtf8(), last.Version));
    }

    [Fact]
    public async Task ARefusedMessageEndsABulkUpsertAndWhatCameBeforeStays()
    {
        using GrpcUpload<BulkUpsertRequest, BulkUpsertResponse> upload = server.Data.ClientStreaming(Methods.BulkUpsert);
        await upload.WriteAsync(new BulkUpsertRequest { Puts = { new Put { Key = Utf8("stay/1") }, new Put { Key = Utf8("stay/2") } } });
        await upload.WriteAsync(new BulkUpsertRequest { Puts = { new Put { Key = Utf8("stay/3") }, new Put { Key = ByteString.Empty } } });
        GrpcReply<BulkUpsertResponse> reply = await upload.FinishAsync();
        Refused(reply, GrpcStatusCode.InvalidArgument, "invalid");
        Assert.Equal("2", reply.Trailers.Get("keyva-records"));
        Assert.Equal([true, true, false], (await GetAsync("stay/1", "stay/2", "stay/3")).Records.Select(one => one.Found));
    }

    private static ByteString Utf8(string text) => ByteString.CopyFromUtf8(text);

    private static IEnumerable<string> Keys(IEnumerable<ScanResponse> pages) =>
        pages.SelectMany(page => page.Records).Select(record => record.Key.ToStringUtf8());

    private static void Refused<T>(GrpcReply<T> reply, GrpcStatusCode code, string status)
        where T : class
    {
        Assert.Equal((code, status), (reply.Status.Code, reply.Trailers.Get("keyva-status")));
        Assert.NotEmpty(reply.Status.Message);
    }

    private async Task<WriteResponse> UpsertAsync(params Put[] puts) =>
        (await server.Data.CallAsync(Methods.Upsert, new UpsertRequest { Puts = { puts } })).GetMessage();

    private async Task<GetResponse> GetAsync(params string[] keys) =>
        (await server.Data.CallAsync(Methods.Get, new GetRequest { Keys = { keys.Select(Utf8) } })).GetMessage();

    private async Task<WriteResponse> RemoveAsync(params string[] keys) =>
        (await server.Data.CallAsync(Methods.Remove, new RemoveRequest { Removals = { keys.Select(key => new Removal { Key = Utf8(key) }) } })).GetMessage();

    private async Task<List<ScanResponse>> ScanAsync(ScanRequest request)
    {
        using GrpcResponses<ScanResponse> responses = server.Data.ServerStreaming(Methods.Scan, request);
        List<ScanResponse> pages = [];
        while (await responses.ReadAsync() is { } page)
        {
            pages.Add(page);
        }

        return pages;
    }

    private async Task RefusedScanAsync(ScanRequest request, GrpcStatusCode code, string status)
    {
        GrpcException refused = await Assert.ThrowsAsync<GrpcException>(() => ScanAsync(request));
        Assert.Equal((code, status), (refused.Code, refused.Trailers.Get("keyva-status")));
    }
}
