using KeyVa.Sessions;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Sessions;

/// <summary>Writes of sessions that a store cannot do say why.</summary>
public sealed class SessionRefusalTests
{
    /// <summary>A node that stopped had no partitions any more, and told a session's write of one key that it went to several.</summary>
    [Fact]
    public async Task KeysOfNoPartitionAreNotTakenForKeysOfSeveral()
    {
        await using Store store = new StoreFixture(new StoreOptions { CreateDefaultPartition = false }).Open();
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(default, Bytes("g"))).Status);
        Assert.Equal(Status.Ok, store.Partitions.Add(new KeyRange(Bytes("g"), Bytes("p"))).Status);
        Assert.Equal(Status.BadNode, await StatusAsync(store, "z"));
        Assert.Equal(Status.BadNode, await StatusAsync(store, "a", "z"));
        Assert.Equal(Status.Unsupported, await StatusAsync(store, "a", "h"));
    }

    private static async Task<Status> StatusAsync(Store store, params string[] keys)
    {
        using var batch = new WriteBatch { Session = new SessionHead(5, 1) };
        foreach (string key in keys)
        {
            batch.Put(Bytes(key), "1"u8);
        }

        Status status = (await store.WriteAsync(batch)).Status;
        Assert.Equal(status, store.Write(batch).Status);
        return status;
    }
}
