using System.Text;
using KeyVa.Client;
using KeyVa.Tests.Merges;
using Xunit;

namespace KeyVa.Tests.Client;

/// <summary>Merges through the remote client.</summary>
public sealed class RemoteMergeTests
{
    [Fact]
    public async Task ARemoteStoreMergesAsAnEmbeddedOne()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os, MergeFunctions = [new Reverse(), new Reverse(2)] });
        await using RemoteStore store = server.Connect();
        Assert.Equal(5, (await store.IncrementAsync(Bytes("n"), 5)).MergedNumber);
        WriteResult result = await store.IncrementAsync(Bytes("n"), -7, new WriteOptions { Expiry = Expiry.InMilliseconds(60_000), Condition = Condition.IfPresent });
        Assert.Equal((Status.Ok, -2), (result.Status, result.MergedNumber));
        long expires = (await store.GetAsync(Bytes("n"))).Record.ExpiresAtUnixMilliseconds;
        Assert.True(expires > 0);
        Assert.True((await store.IncrementAsync(Bytes("n"))).IsOk);
        Assert.Equal(expires, (await store.GetAsync(Bytes("n"))).Record.ExpiresAtUnixMilliseconds);
        result = await store.MergeAsync(Bytes("k"), new Reverse(2), Bytes("abc"));
        Assert.Equal("cba", Encoding.UTF8.GetString(result.Merged.Single().Span));
        result = await store.MergeAsync(Bytes("k"), MergeFunction.Min, Bytes("1"));
        Assert.Equal((Status.MergeRefused, 0), (result.Status, result.FailedOperation));
        Assert.Contains("'cba'", result.Detail, StringComparison.Ordinal);
        result = await store.MergeAsync(Bytes("k"), new Throwing(false), Bytes("1"));
        Assert.Equal(Status.Invalid, result.Status);
        Assert.Contains("'my.own_function-2' version 1", result.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ARemoteBatchTellsMergesAndRemovalsInTheirPlaces()
    {
        await using TestServer server = await TestServer.StartAsync(new StoreOptions { Durability = Durability.Os });
        await using RemoteStore store = server.Connect();
        await store.UpsertAsync(Bytes("b"), Bytes("1"));
        using WriteBatch batch = new();
        batch.Increment("n"u8, 3).Remove("none"u8).Merge("l"u8, MergeFunction.Append, "x"u8).Remove("b"u8).Put("p"u8, "1"u8);
        WriteResult result = await store.WriteAsync(batch);
        Assert.Equal([false, false, false, true, false], result.Removed.ToArray());
        Assert.Equal(["3", "x"], result.Merged.Select(static value => Encoding.UTF8.GetString(value.Span)));
        batch.Clear();
        batch.Put("new"u8, "1"u8).Increment("l"u8);
        result = await store.WriteAsync(batch);
        Assert.Equal((Status.MergeRefused, 1), (result.Status, result.FailedOperation));
        Assert.False((await store.GetAsync(Bytes("new"))).Found);
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
