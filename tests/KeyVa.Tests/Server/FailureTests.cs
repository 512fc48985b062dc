using System.Net;
using System.Text.Json;
using Google.Protobuf;
using KeyVa.Io;
using KeyVa.Protocol.Grpc;
using KeyVa.Protocol.Grpc.Health.V1;
using KeyVa.Protocol.V1;
using Microsoft.Extensions.Logging;
using Xunit;

namespace KeyVa.Tests.Server;

/// <summary>What the front doors say when the machine below fails.</summary>
public sealed class FailureTests
{
    [Fact]
    public async Task AFullDiskRefusesWritesAndGoesOnReadingAndRemoving()
    {
        ServerFixture server = await ServerFixture.StartedAsync(new StoreOptions());
        await server.PutAsync("/kv/before", "1");
        server.Files.Capacity = server.Files.Used;
        HttpResponseMessage refused = await FillAsync(server);
        JsonElement problem = await ServerFixture.ProblemAsync(refused, 507, "full");
        Assert.NotEmpty(problem.GetProperty("detail").GetString()!);
        GrpcReply<WriteResponse> grpc = await server.Data.CallAsync(Methods.Upsert, new UpsertRequest
        {
            Puts = { new Put { Key = ByteString.CopyFromUtf8("full"), Value = ByteString.CopyFrom(new byte[1 << 20]) } },
        });
        Assert.Equal((GrpcStatusCode.ResourceExhausted, "full"), (grpc.Status.Code, grpc.Trailers.Get("keyva-status")));
        Assert.Equal("1", await server.GetTextAsync("/kv/before"));
        Assert.Equal(HttpStatusCode.NoContent, (await server.SendAsync("DELETE", "/kv/before")).StatusCode);
        Assert.Equal("ready\n", await server.GetTextAsync("/readyz"));
        server.Files.Capacity = long.MaxValue;
        Assert.Equal(HttpStatusCode.NoContent, (await server.PutAsync("/kv/after", "1")).StatusCode);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task AfterAFailedSyncTheServerIsNotReadyAndSaysWhy()
    {
        ServerFixture server = await ServerFixture.StartedAsync(new StoreOptions());
        await server.PutAsync("/kv/before", "1");
        using GrpcResponses<HealthCheckResponse> health = server.Data.ServerStreaming(
            HealthService.WatchMethod, new HealthCheckRequest { Service = Methods.DataPlane });
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.Serving, (await health.ReadAsync())!.Status);
        server.Files.Faults.FailNext(FileOperation.SyncData, times: 1000);
        server.Files.Faults.FailNext(FileOperation.Sync, times: 1000);
        await ServerFixture.ProblemAsync(await server.PutAsync("/kv/lost", "1"), 500, "failed");
        GrpcReply<WriteResponse> grpc = await server.Data.CallAsync(
            Methods.Upsert, new UpsertRequest { Puts = { new Put { Key = ByteString.CopyFromUtf8("lost") } } });
        Assert.Equal((GrpcStatusCode.Internal, "failed"), (grpc.Status.Code, grpc.Trailers.Get("keyva-status")));
        using HttpResponseMessage ready = await server.SendAsync("GET", "/readyz");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
        Assert.Equal(HealthCheckResponse.Types.ServingStatus.NotServing, (await health.ReadAsync())!.Status);
        Assert.Contains(server.Log.Entries, entry => entry.Level == LogLevel.Critical);
        Assert.Equal("ok\n", await server.GetTextAsync("/healthz"));
        Assert.Contains("\nkeyva_failed 1\n", await server.GetTextAsync("/metrics"));
        Assert.Equal("1", await server.GetTextAsync("/kv/before"));
        server.Files.Faults.Clear();
        await server.DisposeAsync();
    }

    [Fact]
    public async Task AFailedReadNamesTheFileAndIsLoggedOnce()
    {
        // No cache, and a small memtable, so that reads come from the tables.
        ServerFixture server = await ServerFixture.StartedAsync(new StoreOptions { MemtableBytes = 64 << 10, BlockCacheBytes = 0 });
        for (int i = 0; i < 2000; i++)
        {
            Assert.True(server.Store.Upsert(ServerFixture.Bytes($"key/{i:d4}"), new byte[500]).IsOk);
        }

        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(20));
        using PeriodicTimer timer = new(TimeSpan.FromMilliseconds(10));
        while (server.Store.Partitions.List()[0].DurableIndex < 1000)
        {
            await timer.WaitForNextTickAsync(limit.Token);
        }

        server.Files.Faults.Decide = static (operation, _) => operation == FileOperation.Read ? Posix.InputOutput : 0;
        for (int i = 0; i < 3; i++)
        {
            JsonElement problem = await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv/key/0000"), 500, "failed");
            Assert.Contains("/data/", problem.GetProperty("detail").GetString());
        }

        GrpcReply<GetResponse> grpc = await server.Data.CallAsync(
            Methods.Get, new GetRequest { Keys = { ByteString.CopyFromUtf8("key/0000") } });
        Assert.Equal((GrpcStatusCode.Internal, "failed"), (grpc.Status.Code, grpc.Trailers.Get("keyva-status")));
        Assert.Single(server.Log.Entries, entry => entry.Level == LogLevel.Error && entry.Failure is StorageException);
        await ServerFixture.ProblemAsync(await server.SendAsync("GET", "/kv"), 500, "failed");
        server.Files.Faults.Clear();
        Assert.Equal(500, (await server.Http.GetByteArrayAsync("/kv/key/0000")).Length);
        await server.DisposeAsync();
    }

    [Fact]
    public async Task AFullQueueAsksToTryAgain()
    {
        ServerFixture server = await ServerFixture.StartedAsync(new StoreOptions { MaxQueuedWrites = 1 });
        using ManualResetEventSlim hold = new();
        int held = 0;
        server.Files.Faults.Before = (operation, _) =>
        {
            if (operation == FileOperation.SyncData && Interlocked.Increment(ref held) == 1)
            {
                hold.Wait();
            }
        };
        List<Task<HttpResponseMessage>> writes = [.. Enumerable.Range(0, 8).Select(i => server.PutAsync($"/kv/busy{i}", "1"))];
        HttpResponseMessage busy = await await Task.WhenAny(writes);
        await ServerFixture.ProblemAsync(busy, 503, "busy");
        Assert.Equal("1", busy.Headers.RetryAfter!.ToString());
        GrpcReply<WriteResponse> grpc = await server.Data.CallAsync(
            Methods.Upsert, new UpsertRequest { Puts = { new Put { Key = ByteString.CopyFromUtf8("busy") } } });
        Assert.Equal((GrpcStatusCode.Unavailable, "busy"), (grpc.Status.Code, grpc.Trailers.Get("keyva-status")));
        Assert.Equal("100", grpc.Trailers.Get("keyva-retry-after-ms"));
        hold.Set();
        HttpStatusCode[] ends = [.. (await Task.WhenAll(writes)).Select(one => one.StatusCode)];
        Assert.Contains(HttpStatusCode.NoContent, ends);
        Assert.All(ends, one => Assert.True(one is HttpStatusCode.NoContent or HttpStatusCode.ServiceUnavailable));
        await server.DisposeAsync();
    }

    // Writes large values until one is refused: what the journal has preallocated goes first.
    private static async Task<HttpResponseMessage> FillAsync(ServerFixture server)
    {
        for (int i = 0; ; i++)
        {
            HttpResponseMessage response = await server.SendAsync("PUT", $"/kv/fill{i}", new ByteArrayContent(new byte[1 << 20]));
            if (response.StatusCode != HttpStatusCode.NoContent)
            {
                return response;
            }

            Assert.True(i < 200, "a full disk never refused a write");
        }
    }
}
