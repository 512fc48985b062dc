using System.Text;
using KeyVa.Client;
using Xunit;

namespace KeyVa.Tests.Client;

/// <summary>Versions through the remote client.</summary>
public sealed class RemotePastTests
{
    [Fact]
    public async Task ARemoteStoreReadsThePastAndGoesBackToIt()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os, RetainVersionsFor = TimeSpan.FromHours(1) });
        await using RemoteStore store = server.Connect();
        long first = (await store.UpsertAsync(Bytes("a"), Bytes("1"))).Version;
        long second = (await store.UpsertAsync(Bytes("a"), Bytes("22"))).Version;
        long third = (await store.RemoveAsync(Bytes("a"))).Version;
        long fourth = (await store.UpsertAsync(Bytes("b"), Bytes("x"))).Version;
        ReadResult then = await store.GetAtAsync(Bytes("a"), AsOf.AtVersion(first));
        Assert.Equal((Status.Ok, "1", first), (then.Status, Text(then.Record.Value), then.Record.Version));
        Assert.Equal(Status.NotFound, (await store.GetAtAsync(Bytes("a"), AsOf.AtVersion(third))).Status);
        Assert.Equal(Status.NotFound, (await store.GetAtAsync(Bytes("a"), AsOf.Now)).Status);
        Assert.Equal("x", Text((await store.GetAtAsync(Bytes("b"), AsOf.AtTime(DateTimeOffset.UtcNow.AddHours(1)))).Record.Value));
        Assert.Equal(["a=22"], await ScanAsync(store, AsOf.AtVersion(second)));

        foreach (IStore both in new IStore[] { store, server.Server.Store })
        {
            MultiReadResult several = await both.GetAtAsync([Bytes("b"), Bytes("a")], AsOf.AtVersion(second));
            Assert.Equal((Status.Ok, null, "22"), (several.Status, several.Records[0], Text(several.Records[1]!.Value.Value)));
            several = await both.GetAtAsync([Bytes("b"), Bytes("a")], AsOf.AtTime(DateTimeOffset.UtcNow.AddHours(1)));
            Assert.Equal((fourth, null), (several.Records[0]!.Value.Version, several.Records[1]));
            several = await both.GetAtAsync([Bytes("b"), Bytes("a")], AsOf.Now);
            Assert.Equal((fourth, null), (several.Records[0]!.Value.Version, several.Records[1]));
            Assert.Equal(Status.Invalid, (await both.GetAtAsync([Bytes("b"), Bytes("a")], AsOf.AtVersion(1000))).Status);
        }

        Assert.Equal("1", Text(server.Server.Store.GetAt([Bytes("a")], AsOf.AtVersion(first)).Records[0]!.Value.Value));

        HistoryResult history = await store.HistoryAsync(Bytes("a"), new HistoryOptions { Limit = 2 });
        Assert.Equal([(third, true, ""), (second, false, "22")], history.Versions.Select(static one => (one.Version, one.IsRemoval, Text(one.Value))));
        Assert.Equal(first, history.ResumeVersion);
        history = await store.HistoryAsync(Bytes("a"), new HistoryOptions { To = history.ResumeVersion });
        Assert.Equal([first], history.Versions.Select(static one => one.Version));
        Assert.Equal(0, history.ResumeVersion);
        history = await store.HistoryAsync(Bytes("a"), new HistoryOptions { Reverse = true, WithoutValues = true, From = second });
        Assert.Equal([(second, ""), (third, "")], history.Versions.Select(static one => (one.Version, Text(one.Value))));
        Assert.Equal(Status.Invalid, (await store.HistoryAsync(Bytes("a"), new HistoryOptions { Limit = 0 })).Status);
        Assert.Equal(Status.Invalid, (await store.HistoryAsync(Bytes(""))).Status);

        RollBackResult back = await store.RollBackAsync(Bytes("a"), AsOf.AtVersion(first));
        Assert.Equal((Status.Ok, fourth + 1, first, 1L), (back.Status, back.Version, back.ToVersion, back.KeysChanged));
        Assert.Equal("1", Text((await store.GetAsync(Bytes("a"))).Record.Value));
        back = await store.RollBackAsync(1, AsOf.AtVersion(third));
        Assert.Equal((Status.Ok, 2L), (back.Status, back.KeysChanged));
        Assert.Equal([], await ScanAsync(store, AsOf.Now));
        back = await store.RollBackAsync(new KeyRange(default, default), AsOf.AtVersion(fourth));
        Assert.Equal((Status.Ok, 1L), (back.Status, back.KeysChanged));
        Assert.Equal(["b=x"], await ScanAsync(store, AsOf.Now));
        back = await store.RollBackAsync(KeyRange.WithPrefix(Bytes("b")), AsOf.AtVersion(first));
        Assert.Equal((Status.Ok, 1L), (back.Status, back.KeysChanged));
        Assert.Equal([], await ScanAsync(store, AsOf.Now));

        Assert.Equal(Status.NotFound, (await store.RollBackAsync(9, AsOf.AtVersion(1))).Status);
        Assert.Equal(Status.NotFound, (await store.RollBackAsync(0, AsOf.AtVersion(1))).Status);
        Assert.Equal(Status.Invalid, (await store.RollBackAsync(Bytes(""), AsOf.AtVersion(1))).Status);
        back = await store.RollBackAsync(1, AsOf.Now);
        Assert.Equal((Status.Invalid, "say which version or time to roll back to"), (back.Status, back.Detail));
        back = await store.RollBackAsync(1, AsOf.AtVersion(1000));
        Assert.Equal(Status.Invalid, back.Status);
        Assert.Contains("there is no version 1000 yet; the newest is", back.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Invalid, (await store.GetAtAsync(Bytes("a"), AsOf.AtVersion(1000))).Status);
    }

    [Fact]
    public async Task WhatIsForgottenNamesTheVersionToStartAt()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        for (int i = 0; i < 5; i++)
        {
            await store.UpsertAsync(Bytes("k"), Bytes("v"));
        }

        Assert.Equal(Status.Ok, (await server.Server.Store.CompactAsync(KeyRange.All)).Status);
        ReadResult read = await store.GetAtAsync(Bytes("k"), AsOf.AtVersion(2));
        long begins = read.BeginsAtVersion;
        Assert.Equal(Status.Compacted, read.Status);
        Assert.InRange(begins, 3, 6);
        Assert.Contains($"start at {begins}", read.Detail, StringComparison.Ordinal);
        Assert.Equal(Status.Ok, (await store.GetAtAsync(Bytes("k"), AsOf.AtVersion(begins))).Status);
        foreach (IStore both in new IStore[] { store, server.Server.Store })
        {
            MultiReadResult several = await both.GetAtAsync([Bytes("none"), Bytes("k")], AsOf.AtVersion(2));
            Assert.Equal((Status.Compacted, begins, 0), (several.Status, several.BeginsAtVersion, several.Records.Count));
        }

        RollBackResult back = await store.RollBackAsync(Bytes("k"), AsOf.AtVersion(2));
        Assert.Equal((Status.Compacted, begins), (back.Status, back.BeginsAtVersion));
        RefusedException refused = await Assert.ThrowsAsync<RefusedException>(() => ScanAsync(store, AsOf.AtVersion(2)));
        Assert.Equal((Status.Compacted, begins), (refused.Status, refused.BeginsAtVersion));
        HistoryResult history = await store.HistoryAsync(Bytes("k"));
        Assert.Equal((5L, begins), (history.Versions.Single().Version, history.BeginsAtVersion));
        read = await store.GetAtAsync(Bytes("k"), AsOf.AtTime(1));
        Assert.Equal((Status.Compacted, 0L), (read.Status, read.BeginsAtVersion));
    }

    private static async Task<List<string>> ScanAsync(RemoteStore store, AsOf at)
    {
        List<string> found = [];
        await foreach (Record record in store.ScanAsync(new ScanOptions { At = at }))
        {
            found.Add($"{Text(record.Key)}={Text(record.Value)}");
        }

        return found;
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
