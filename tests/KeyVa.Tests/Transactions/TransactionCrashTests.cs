using KeyVa.Io;
using KeyVa.Tests.Stores;
using Xunit;
using static KeyVa.Tests.Stores.StoreFixture;

namespace KeyVa.Tests.Transactions;

/// <summary>
/// The power fails, or the process is killed, at each file operation of commits over several partitions: after it, all of each transaction is there or
/// nothing, and what was acknowledged is.
/// </summary>
public sealed class TransactionCrashTests
{
    private static readonly string[] Written = ["a", "m", "z"];

    [Theory]
    [InlineData(1, EngineKind.Lsm, Durability.Always, false)]
    [InlineData(3, EngineKind.Lsm, Durability.Always, false)]
    [InlineData(3, EngineKind.Memory, Durability.Always, false)]
    [InlineData(3, EngineKind.Lsm, Durability.Os, false)]
    [InlineData(3, EngineKind.Lsm, Durability.Os, true)]
    [InlineData(3, EngineKind.Memory, Durability.Os, true)]
    public async Task AfterACrashAtAnyFileOperationThereIsAllOfACommitOrNothing(int partitions, EngineKind engine, Durability durability, bool isKill) =>
        Assert.Null(await RunAsync(partitions, engine, durability, isKill, Defects.None));

    [Theory]
    [InlineData(EngineKind.Lsm)]
    [InlineData(EngineKind.Memory)]
    public async Task AReplayThatLeavesOutAPartIsFound(EngineKind engine) =>
        Assert.NotNull(await RunAsync(3, engine, Durability.Os, isKill: true, Defects.ForgetsPartOfCommit));

    /// <summary>What is wrong after one of the crashes; null: nothing.</summary>
    private static async Task<string?> RunAsync(int partitions, EngineKind engine, Durability durability, bool isKill, Defects defects)
    {
        var fixture = new StoreFixture(new StoreOptions
        {
            Engine = engine,
            CreateDefaultPartition = partitions == 1,
            Durability = durability,
            JournalSegmentBytes = 1 << 16,
            JournalBudgetBytes = 1 << 17,
            MemtableBytes = 1 << 16,
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
                    // Asked before: on a thread of the store's own, more may be acknowledged while the files are copied.
                    int told = Volatile.Read(ref acknowledged);
                    left.Add((isKill ? files.AfterKill() : files.AfterPowerLoss(left.Count), told));
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
            await using Store store = Store.Open(
                StoreFixture.Directory, fixture.Options, new StoreEnvironment { FileSystem = left[i].Files, Time = fixture.Time, Defects = defects });
            string?[] values = [.. Written.Select(key => Get(store, key))];
            int round = values[0] is { } text ? text[0] - 'A' : -1;
            bool isWhole = values.All(value => value == values[0])
                && Get(store, "range")?[..1] == (round < 0 ? null : $"{(char)('A' + round)}")
                && Get(store, "gone") is null
                && Get(store, "b-count") == (round < 0 ? null : $"{2 * (round + 1)}")
                && Get(store, "y-count") == (round < 0 ? null : $"{-round - 1}");
            if (!isWhole)
            {
                return $"operation {i}: a part of a commit is there, {string.Join(' ', values.Select(static value => value?[..1] ?? "nothing"))}";
            }

            if (round < left[i].Acknowledged && (durability == Durability.Always || isKill))
            {
                return $"operation {i}: round {left[i].Acknowledged} was acknowledged, {round} is there";
            }
        }

        return null;
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
