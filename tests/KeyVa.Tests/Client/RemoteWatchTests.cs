using System.Text;
using KeyVa.Client;
using KeyVa.Tests.Watches;
using Xunit;

namespace KeyVa.Tests.Client;

public sealed class RemoteWatchTests
{
    [Fact]
    public async Task AWatchGoesOnByItselfWhenItsServerStartsAgain()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { WatchHistoryAlways = true });
        await using RemoteStore store = server.Connect(new RemoteOptions { ReadRetries = 100, ConnectRetries = 100 });
        await using WatchReader reader = await WatchReader.OpenAsync(store, "k");
        await store.UpsertAsync(Bytes("k1"), Bytes("1"));
        Assert.Equal("k1=1", await reader.NextAsync(1));
        await server.StopAsync();
        await server.RestartAsync();

        // By a connection of its own: a write that meets the old one while it closes is told that nobody knows what came of it.
        await using RemoteStore writer = server.Connect();
        await writer.UpsertAsync(Bytes("k2"), Bytes("2"));
        using (var batch = new WriteBatch())
        {
            Assert.True((await writer.WriteAsync(batch.Put("k3"u8, "3"u8).Remove("k1"u8).Put("other"u8, "x"u8))).IsOk);
        }

        Assert.Equal("k2=2 k3=3+ -k1", await reader.NextAsync(3));
    }

    [Fact]
    public async Task RefusalsAndCompactionComeAsTheyDoEmbedded()
    {
        await using TestServer server = await TestServer.StartAsync();
        await using RemoteStore store = server.Connect();
        long last = (await store.UpsertAsync(Bytes("a"), Bytes("1"))).Version;
        Assert.Equal(Status.Invalid, (await Assert.ThrowsAsync<RefusedException>(() => WatchReader.OpenAsync(store, "", 1000))).Status);
        await using WatchReader late = await WatchReader.OpenAsync(store, "", last);
        Assert.Equal(last + 1, (await Assert.ThrowsAsync<CompactedException>(() => late.NextAsync())).StartVersion);
        using var cancel = new CancellationTokenSource();
        await using WatchReader reader = await WatchReader.OpenAsync(store, new WatchOptions { Key = Bytes("a"), PreviousValues = true }, cancel.Token);
        await store.RemoveAsync(Bytes("a"));
        WatchEvent told = await reader.NextAsync();
        Assert.Equal((WatchEventKind.Remove, last, "1"), (told.Kind, told.PreviousVersion, WatchReader.Text(told.PreviousValue)));
        Task<WatchEvent> waiting = reader.NextAsync();
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting);
        Assert.True(SpinWait.SpinUntil(() => server.Server.Store.GetStatistics().Watchers == 0, TimeSpan.FromMinutes(1)), "the server still watches");
    }

    [Fact]
    public async Task AVersionLongerThanAMessageComesInSeveralAndWhole()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        await using WatchReader reader = await WatchReader.OpenAsync(store, "k");
        using (BulkLoader loader = server.Server.Store.BeginBulkLoad())
        {
            for (int i = 0; i < 3000; i++)
            {
                Assert.Equal(Status.Ok, loader.Add(Bytes($"k{i:D4}"), new byte[1000]));
            }

            Assert.True(loader.Complete().IsOk);
        }

        await store.UpsertAsync(Bytes("k"), Bytes("end"));
        for (int i = 0; i < 3000; i++)
        {
            WatchEvent told = await reader.NextAsync();
            Assert.Equal(($"k{i:D4}", i < 2999), (WatchReader.Text(told.Key), told.HasMore));
        }

        Assert.Equal("k=end", await reader.NextAsync(1));
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
