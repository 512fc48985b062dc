using KeyVa.Io;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

/// <summary>The power fails at each file operation of a transaction's commit: after it, all of the transaction is there or nothing.</summary>
public sealed class TransactionCrashTests
{
    private static readonly string[] Written = ["a", "m", "z"];

    [Theory]
    [InlineData(1, EngineKind.Lsm, Durability.Always)]
    [InlineData(3, EngineKind.Lsm, Durability.Always)]
    [InlineData(3, EngineKind.Memory, Durability.Always)]
    [InlineData(3, EngineKind.Lsm, Durability.Os)]
    public async Task AfterAPowerLossAtAnyFileOperationThereIsAllOfACommitOrNothing(int partitions, EngineKind engine, Durability durability)
    {
        var fixture = new StoreFixture(new StoreOptions
        {
            Engine = engine, CreateDefaultPartition = partitions == 1, Durability = durability, JournalSegmentBytes = 1 << 16, JournalBudgetBytes = 1 << 17, MemtableBytes = 1 << 16,
        });
        var left = new List<(MemoryFileSystem Files, int Acknowledged)>();
        int acknowledged = 0;
        await using (Store store = fixture.Open())
        {
            PartitionedStore.Split(store, engine, partitions, "h", "p");
            MemoryFileSystem files = fixture.Files;
            Commit(store, 0);
            files.Faults.Before = (_, _) =>
            {
                lock (left)
                {
                    left.Add((files.AfterPowerLoss(left.Count), Volatile.Read(ref acknowledged)));
                }
            };
            for (int round = 1; round <= 12; round++)
            {
                Commit(store, round);
                Volatile.Write(ref acknowledged, round);
            }

            files.Faults.Before = null;
        }

        Assert.True(left.Count >= 12, $"{left.Count} operations");
        for (int i = 0; i < left.Count; i++)
        {
            await using Store store = new StoreFixture(fixture.Options) { Files = left[i].Files }.Open();
            string?[] values = [.. Written.Select(key => Get(store, key))];
            Assert.True(values.All(value => value == values[0]), $"operation {i}: {string.Join(' ', values)}");
            int round = values[0] is { } text ? text[0] - 'A' : -1;
            Assert.Equal(round < 0 ? null : $"{(char)('A' + round)}", Get(store, "range")?[..1]);
            Assert.Null(Get(store, "gone"));
            Assert.Equal(round < 0 ? null : $"{2 * (round + 1)}", Get(store, "b-count"));
            Assert.Equal(round < 0 ? null : $"{-round - 1}", Get(store, "y-count"));
            Assert.True(round >= left[i].Acknowledged || durability == Durability.Os, $"operation {i}: round {left[i].Acknowledged} was acknowledged, {round} is there");
        }
    }

    private static void Commit(Store store, int round)
    {
        string value = new((char)('A' + round), 9000);
        using Transaction txn = store.Begin();
        foreach (string key in Written)
        {
            TransactionTests.Read(txn, key);
            txn.Put(Bytes(key), Bytes(value));
        }

        txn.Increment("b-count"u8, 5);
        txn.Increment("b-count"u8, -3);
        txn.Increment("y-count"u8, -1);

        // A check that fails replays as it was decided: nothing of this one may ever be there.
        using (Transaction refused = store.Begin())
        {
            TransactionTests.Read(refused, "m");
            refused.Put("gone"u8, "1"u8);
            refused.Put("x"u8, "1"u8);
            txn.RemoveRange("q"u8, "r"u8);
            txn.Put("range"u8, Bytes(value));
            CommitResult result = txn.Commit();
            Assert.True(result.IsOk, result.Detail);
            Assert.Equal(Status.Conflict, refused.Commit().Status);
        }
    }
}
